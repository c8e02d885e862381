import { errorCodeOf, PurserError } from '../model/errors.ts'
import { fromContainer, toStream } from './copy/from-container.ts'
import { type Place, placeOf } from './copy/place.ts'
import { fromStream, toContainer } from './copy/to-container.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'source', count: '1', completes: 'file' },
    { name: 'target', count: '1', completes: 'file' },
  ],
  options: {
    archive: { short: 'a', help: 'keep owners; otherwise files become root’s in the container, and yours out here' },
    'follow-link': { short: 'L', help: 'copy what a symlink leads to, not the link' },
  },
  async run({ client, flags, args: [from = '', to = ''] }) {
    const [source, target] = [placeOf(from), placeOf(to)]
    const options = {
      client,
      owner: flags.archive ? ('archived' as const) : ('plain' as const),
      last: flags['follow-link'] ? ('follow' as const) : ('itself' as const),
    }
    const idOf = async (place: Extract<Place, { at: 'container' }>): Promise<string> =>
      (await client.container(place.container).catch(explain(place.container))).id
    if (source.at === 'container' && target.at !== 'container') {
      const id = await idOf(source)
      if (target.at === 'stream') await toStream(options, id, source.path)
      else await fromContainer(options, id, source.path, target.path)
      return 0
    }
    if (target.at === 'container' && source.at !== 'container') {
      const id = await idOf(target)
      if (source.at === 'stream') await fromStream(options, id, target.path)
      else await toContainer(options, source.path, id, target.path)
      return 0
    }
    throw new PurserError(
      'invalid_argument',
      source.at === 'container' ? 'both sides are containers' : 'neither side is a container',
      { remedy: 'write CONTAINER:PATH on one side, and a path or - on the other' },
    )
  },
})

/** A path on this machine may look like CONTAINER:PATH. */
const explain =
  (name: string) =>
  (error: unknown): never => {
    if (!(error instanceof PurserError) || errorCodeOf(error) !== 'not_found') throw error
    throw new PurserError('not_found', error.message, {
      cause: error,
      remedy: `purser ps -a lists what there is; a file here whose name has a colon is ./${name}:…`,
    })
  }
