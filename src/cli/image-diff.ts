import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { humanSize, printJson } from './terminal/output.ts'

interface Difference {
  configuration: { path: string; one?: unknown; other?: unknown }[]
  layers: { common: Layer[]; one: Layer[]; other: Layer[] }
  files: { path: string; change: 'added' | 'removed' | 'changed'; what?: string[] }[]
  fileCount: number
}

interface Layer {
  digest: string
  sizeBytes: number
}

/** docker diff's letters. */
const LETTERS = { added: 'A', removed: 'D', changed: 'C' } as const

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'other', count: '1', completes: 'image' },
  ],
  options: {},
  async run({ client, args: [one = '', other = ''], format }) {
    const [name, against] = await Promise.all([imageNamed(client, one), imageNamed(client, other)])
    const path = `/v1/images/${encodeURIComponent(name)}/diff`
    const found = await client.get<Difference & Record<string, unknown>>(path, { against })
    if (format !== 'table') printJson(found, format)
    else
      process.stdout.write(
        linesOf(found)
          .map((line) => `${line}\n`)
          .join(''),
      )
    return 0
  },
})

function linesOf({ configuration, layers, files, fileCount }: Difference): string[] {
  const layerLine = (sign: string) => (layer: Layer) =>
    `${sign} layer ${layer.digest.slice(7, 19)} (${humanSize(layer.sizeBytes)})`
  const lines = [
    ...configuration.flatMap(({ path, one, other }) => [
      ...(one === undefined ? [] : [`- ${path}: ${JSON.stringify(one)}`]),
      ...(other === undefined ? [] : [`+ ${path}: ${JSON.stringify(other)}`]),
    ]),
    ...layers.one.map(layerLine('-')),
    ...layers.other.map(layerLine('+')),
    ...files.map(
      ({ path, change, what = [] }) => `${LETTERS[change]} ${path}${what.length > 0 ? ` (${what.join(', ')})` : ''}`,
    ),
  ]
  return fileCount > files.length ? [...lines, `and ${fileCount - files.length} more files`] : lines
}
