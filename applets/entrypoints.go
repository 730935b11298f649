package applets

import (
	"binproxy/applets/kernel"
	"binproxy/emu/bootstrap"
	"binproxy/emu/container"
	"binproxy/emu/entrypoint"
	"binproxy/emu/kernel/answers"
	"binproxy/emu/kernel/record"
	"binproxy/emu/probe"
	"binproxy/emu/supervise"
	"binproxy/emu/uml"
	"binproxy/emu/userns"
)

// entrypoints has every private mode, and its function. It is here because rooms of emu start the
// modes, and the modes run code of those rooms.
var entrypoints = [...]entrypoint.Row{
	{Name: entrypoint.Launch, Run: supervise.Launch},
	{Name: entrypoint.Probe, Run: probe.Entry},
	{Name: entrypoint.Userns, Run: userns.Inside},
	{Name: entrypoint.Make, Run: container.Make},
	{Name: entrypoint.Hold, Run: container.Hold},
	{Name: entrypoint.Enter, Run: container.Inside},
	{Name: entrypoint.Prove, Run: container.Prove},
	{Name: entrypoint.Bootstrap, Run: bootstrap.Inside},
	{Name: entrypoint.Answer, Run: answers.Child},
	{Name: entrypoint.Deny, Run: record.Deny},
	{Name: entrypoint.Rerun, Run: kernel.Rerun},
	{Name: entrypoint.Jail, Run: uml.Jail},
	{Name: entrypoint.Guest, Run: uml.Guest},
	{Name: entrypoint.Network, Run: uml.NetHelper},
}
