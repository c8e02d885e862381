import { parseVerifier } from '../archive/note.ts'
import { readTextFile } from './line/files.ts'
import { defineVerb } from './line/verb.ts'
import { inWords } from './log-restore.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'file', count: '1-', completes: 'file' }],
  options: {
    config: { value: 'file', completes: 'file', help: 'TOML, as the daemon will be given' },
    root: { value: 'dir', completes: 'file', help: 'as the daemon will be given' },
    state: { value: 'dir', completes: 'file', help: 'as the daemon will be given' },
    key: {
      value: 'file',
      completes: 'file',
      help: 'public key of the exporting node; the one in the files without it',
    },
  },
  async run({ args, flags, format, debug }) {
    const verifier = flags.key === undefined ? undefined : parseVerifier(await readTextFile(flags.key))
    const { importOffline } = await import('../daemon/restore.ts')
    const report = await importOffline({ ...flags, debug }, args, verifier)
    if (format === 'table') process.stdout.write(inWords(report))
    else printJson(report, format)
    if (report.unsigned > 0)
      process.stderr.write(`purser: no checkpoint covers the last ${report.unsigned} events: was the file cut off?\n`)
    return 0
  },
})
