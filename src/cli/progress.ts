import type { PurserClient } from '../client/index.ts'
import type { CommandProgress } from '../projections/progress.ts'
import { humanSize } from './output.ts'

const BAR = 30

/** Follows a command's progress: bars that are redrawn on a terminal, a line for each layer elsewhere. */
export async function showProgress(
  client: PurserClient,
  commandId: string,
  signal: AbortSignal,
  out: NodeJS.WriteStream,
): Promise<void> {
  let drawn = 0
  const said = new Set<string>()
  let event = ''
  for await (const line of client.lines(`/v1/commands/${commandId}/progress`, {}, signal)) {
    if (line.startsWith('event: ')) event = line.slice(7)
    if (!line.startsWith('data: ')) continue
    if (event === 'end') return
    const { layers }: CommandProgress = JSON.parse(line.slice(6))
    if (!layers) continue
    if (!out.isTTY) {
      for (const { digest, phase, sizeBytes } of layers) {
        if ((phase !== 'done' && phase !== 'present') || said.has(digest)) continue
        said.add(digest)
        out.write(`${digest.slice(7, 19)}: ${phase === 'done' ? 'pulled' : 'already here'} (${humanSize(sizeBytes)})\n`)
      }
      continue
    }
    if (drawn > 0) out.write(`\x1b[${drawn}A`)
    for (const { digest, sizeBytes, fetchedBytes, phase } of layers) {
      const share = phase === 'done' || phase === 'present' || sizeBytes === 0 ? 1 : fetchedBytes / sizeBytes
      const filled = Math.round(share * BAR)
      const bar = `${'='.repeat(filled)}${' '.repeat(BAR - filled)}`
      out.write(
        `\x1b[2K${digest.slice(7, 19)} ${phase.padEnd(10)} [${bar}] ${humanSize(Math.round(share * sizeBytes))}/${humanSize(sizeBytes)}\n`,
      )
    }
    drawn = layers.length
  }
}
