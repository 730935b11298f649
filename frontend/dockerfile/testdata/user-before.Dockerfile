FROM node
USER node
COPY --chown=node . .
RUN npm install
