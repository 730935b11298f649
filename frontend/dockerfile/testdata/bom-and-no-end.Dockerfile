from debian
Run true