import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress } from 'node:zlib'
import { exportLines } from '../archive/export.ts'
import { defineVerb } from './line/verb.ts'
import type { LogStatus } from './log-show.ts'

export const verb = defineVerb({
  args: [],
  options: {
    since: { value: 'since', help: 'events after a position or an RFC 3339 time; from the beginning without it' },
    archive: {
      value: 'directory',
      completes: 'file',
      help: "of the archive, ROOT/log; the daemon's without it, which is then asked to seal all there is",
    },
    zstd: { help: 'compress' },
  },
  async run({ client, flags }) {
    if (flags.archive === undefined) await client.post('/v1/log/seal')
    const dir = flags.archive ?? (await client.get<LogStatus>('/v1/log')).directory
    const lines = Readable.from(exportLines(dir, flags.since), { objectMode: false })
    if (flags.zstd) await pipeline(lines, createZstdCompress(), process.stdout, { end: false })
    else await pipeline(lines, process.stdout, { end: false })
    return 0
  },
})
