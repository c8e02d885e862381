import type { Command } from 'commander'

export function define(program: Command): void {
  program
    .command('daemon')
    .option('--config <file>', 'TOML; see packaging/purser.toml')
    .option('--root <dir>', 'what outlives a reboot')
    .option('--state <dir>', 'sockets and bundles')
    .description('run the daemon')
    .action(async (flags: { config?: string; root?: string; state?: string }, command: Command) => {
      const { runDaemon } = await import('../daemon/main.ts')
      process.exit(await runDaemon({ ...flags, debug: command.optsWithGlobals().debug === true }))
    })
}
