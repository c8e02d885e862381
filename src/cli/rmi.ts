import type { PurserClient } from '../client/index.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { failed } from './line/failed.ts'
import { imagesNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {
    force: { short: 'f', help: 'even if a container uses it, it is pinned, or an ID has several names' },
  },
  async run({ client, flags: { force }, args, debug }) {
    let status = 0
    for (const given of args) {
      try {
        await remove(client, given, force)
      } catch (thrown) {
        const code = failed(thrown, { debug })
        // What is not there need not be removed, for one who insists.
        if (status === 0 && !(force && errorCodeOf(thrown) === 'not_found')) status = code
      }
    }
    return status
  },
})

/** Tells as docker does: which names went, and of which images no name is left. */
async function remove(client: PurserClient, given: string, force: boolean): Promise<void> {
  const found = await imagesNamed(client, given)
  if (found.length > 1 && !force) {
    const names = found.map(({ name }) => name).join(', ')
    throw new PurserError('failed_precondition', `image ${given} has several names: ${names}`, {
      remedy: 'remove it by its names, or with rmi -f by its ID',
    })
  }
  for (const { name, target } of found) {
    const payload = { inUse: force ? 'allow' : 'refuse' } as const
    await client.execute('image.delete', { subject: name, payload })
    process.stdout.write(`Untagged: ${name}\n`)
    const all = await Array.fromAsync(client.list('images'))
    if (!all.some((each) => each.target.digest === target.digest)) process.stdout.write(`Deleted: ${target.digest}\n`)
  }
}
