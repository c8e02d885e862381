import { type ImageState, type ImageTarget, image } from '../../commands/image.ts'
import type { ContentStore } from '../../content/store.ts'
import { compareLayers } from '../../layers/compare.ts'
import type { View } from '../../model/aggregate.ts'
import type { Digest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import { parseJson } from '../../oci/json.ts'
import { DOCUMENT_BYTES_MAX } from '../../registry/client.ts'

/** Differences between files that are told, at most. */
const FILES_MAX = 10_000

/** What an image is made of, beyond its record: read from the content store when it is asked for. */
export class ImageDetails {
  readonly #view: View
  readonly #content: ContentStore

  constructor(view: View, content: ContentStore) {
    this.#view = view
    this.#content = content
  }

  /**
   * What differs between two images: their configurations, their layers, and the files that these amount to.
   *
   * @throws PurserError not_found; data_loss when something has rotted
   */
  async diff(namespace: string, one: string, other: string, signal: AbortSignal) {
    const [first, second] = [this.#present(namespace, one), this.#present(namespace, other)]
    using held = new DisposableStack()
    for (const { digest } of [...first.layers, ...second.layers]) held.use(this.#content.hold(digest))
    const [before, after] = [await this.#configuration(first), await this.#configuration(second)]
    const same = first.layers.findIndex(({ diffId }, index) => diffId !== second.layers[index]?.diffId)
    const shared = same < 0 ? Math.min(first.layers.length, second.layers.length) : same
    const paths = (layers: ImageTarget['layers']) => layers.map(({ digest }) => this.#content.path(digest))
    const [own, others] = [first.layers.slice(shared), second.layers.slice(shared)]
    const common = first.layers.slice(0, shared)
    const { files, count } =
      own.length + others.length === 0
        ? { files: [], count: 0 }
        : await compareLayers(
            { common: paths(common), one: paths(own), other: paths(others), filesMax: FILES_MAX },
            signal,
          )
    const bare = ({ digest, sizeBytes }: ImageTarget['layers'][number]) => ({ digest, sizeBytes })
    return {
      configuration: differences(before, after),
      layers: { common: common.map(bare), one: own.map(bare), other: others.map(bare) },
      files,
      fileCount: count,
    }
  }

  /** @throws PurserError not_found; data_loss when its configuration has rotted */
  async of(namespace: string, name: string) {
    const state = this.#present(namespace, name)
    const bytes = await this.#content.read(state.config.digest, { maxBytes: DOCUMENT_BYTES_MAX })
    const { history } = parseImageConfig(bytes)
    const others = [...this.#view.list(image, namespace)].flatMap(({ id, state: each }) =>
      each.status === 'present' && id !== name ? [{ id, state: each }] : [],
    )
    const sameNames = others.filter(({ state: each }) => each.target.digest === state.target.digest).map(({ id }) => id)
    const made = history.filter(({ emptyLayer }) => !emptyLayer)
    const layers = state.layers.map((layer, index) => ({
      ...layer,
      ...(made[index]?.createdBy === undefined ? {} : { createdBy: made[index].createdBy }),
      sharedWith: sharedWith(layer.digest, others, sameNames),
    }))
    const sum = (all: readonly { sizeBytes: number }[]) => all.reduce((total, { sizeBytes }) => total + sizeBytes, 0)
    const sizeBytes = sum(layers) + state.config.sizeBytes + state.manifest.sizeBytes
    const sharedBytes = sum(layers.filter((layer) => layer.sharedWith.length > 0))
    const { status: _, ...record } = state
    return {
      name,
      namespace,
      ...record,
      layers,
      names: [name, ...sameNames].sort(),
      sizeBytes,
      sharedBytes,
      uniqueBytes: sizeBytes - sharedBytes,
      configuration: parseJson(bytes, 'image configuration'),
      history: history.map((each) => dropUndefined(each)),
    }
  }

  #present(namespace: string, name: string): Extract<ImageState, { status: 'present' }> {
    const state: ImageState = this.#view.get(image, namespace, name)
    if (state.status === 'present') return state
    throw new PurserError('not_found', `image ${name} is not in namespace ${namespace}`, {
      remedy: `purser pull ${name}`,
    })
  }

  /** Without what the layers tell by themselves. */
  async #configuration({ config }: ImageTarget): Promise<unknown> {
    const bytes = await this.#content.read(config.digest, { maxBytes: DOCUMENT_BYTES_MAX })
    const document = parseJson(bytes, 'image configuration')
    if (!isRecord(document)) return document
    const { rootfs: _, history: __, ...rest } = document
    return rest
  }
}

/** A part of a document that is not the same in another one; undefined where it is not there. */
interface Difference {
  path: string
  one?: unknown
  other?: unknown
}

/** Lists are compared whole: what moves within one is a change of the list. */
function differences(one: unknown, other: unknown, path = ''): Difference[] {
  if (isRecord(one) && isRecord(other)) {
    const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort()
    return keys.flatMap((key) => differences(one[key], other[key], path === '' ? key : `${path}.${key}`))
  }
  if (JSON.stringify(one) === JSON.stringify(other)) return []
  return [{ path, ...(one === undefined ? {} : { one }), ...(other === undefined ? {} : { other }) }]
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Images that have the layer too; other names of the same image are not others. */
function sharedWith(
  digest: Digest,
  others: readonly { id: string; state: ImageTarget }[],
  sameNames: readonly string[],
): string[] {
  return others
    .filter(({ id, state }) => !sameNames.includes(id) && state.layers.some((layer) => layer.digest === digest))
    .map(({ id }) => id)
}

const dropUndefined = (given: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
