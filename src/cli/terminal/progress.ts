import type { CommandProgress, PurserClient } from '../../client/index.ts'
import { humanSize } from './output.ts'

const BAR = 30

type Layer = CommandProgress['layers'][number]

/** Follows a command's progress: bars that are redrawn on a terminal, a line for each layer elsewhere. */
export async function showProgress(
  client: PurserClient,
  commandId: string,
  signal: AbortSignal,
  out: NodeJS.WriteStream,
): Promise<void> {
  const screen = out.isTTY ? new Bars(out) : new Lines(out)
  for await (const { layers } of client.progress(commandId, signal)) if (layers) screen.show(layers)
}

/** Redrawn in place; no wider than the terminal and no higher, or going up would miss the first line. */
class Bars {
  readonly #out: NodeJS.WriteStream
  #drawn = 0

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  show(layers: readonly Layer[]): void {
    const { rows = 24, columns = 80 } = this.#out
    const shown = fitting(layers, Math.max(1, rows - 1))
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A\x1b[J` : ''
    this.#out.write(up + shown.map((layer) => `${barOf(layer).slice(0, columns - 1)}\n`).join(''))
    this.#drawn = shown.length
  }
}

/** Layers that are done make room when there are more than lines. */
function fitting(layers: readonly Layer[], linesMax: number): readonly Layer[] {
  if (layers.length <= linesMax) return layers
  return [...layers.filter((layer) => !isDone(layer)), ...layers.filter(isDone)].slice(0, linesMax)
}

function barOf({ digest, sizeBytes, fetchedBytes, phase }: Layer): string {
  const share = phase === 'done' || phase === 'present' || sizeBytes === 0 ? 1 : Math.min(1, fetchedBytes / sizeBytes)
  const bar = '='.repeat(Math.round(share * BAR)).padEnd(BAR)
  return `${digest.slice(7, 19)} ${phase.padEnd(10)} [${bar}] ${humanSize(Math.round(share * sizeBytes))}/${humanSize(sizeBytes)}`
}

/** What has become of a layer, in words for a line. */
const ENDS: Partial<Record<Layer['phase'], string>> = {
  done: 'pulled',
  present: 'already here',
  sent: 'pushed',
  mounted: 'mounted from another repository',
  known: 'already there',
}

const isDone = ({ phase }: Layer): boolean => ENDS[phase] !== undefined

/** For pipes: each layer once, when it is done. */
class Lines {
  readonly #out: NodeJS.WriteStream
  readonly #said = new Set<string>()

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  show(layers: readonly Layer[]): void {
    for (const layer of layers) {
      if (!isDone(layer) || this.#said.has(layer.digest)) continue
      this.#said.add(layer.digest)
      this.#out.write(`${layer.digest.slice(7, 19)}: ${ENDS[layer.phase]} (${humanSize(layer.sizeBytes)})\n`)
    }
  }
}
