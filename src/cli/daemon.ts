import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [],
  options: {
    config: { value: 'file', completes: 'file', help: 'TOML; see packaging/purser.toml' },
    root: { value: 'dir', completes: 'file', help: 'what outlives a reboot' },
    state: { value: 'dir', completes: 'file', help: 'sockets and bundles' },
  },
  async run({ flags, debug }) {
    const { runDaemon } = await import('../daemon/main.ts')
    process.exit(await runDaemon({ ...flags, debug }))
  },
})
