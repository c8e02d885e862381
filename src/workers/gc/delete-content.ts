import { content } from '../../commands/content.ts'
import { parseDigest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import { defineGcHandler } from './effects.ts'
import { findGarbage } from './mark.ts'

/** Removes one blob, if nothing refers to it. */
export const deleteContent = defineGcHandler(content, 'content.delete', async (job) => {
  const { id, namespace, view, effects } = job
  const facts = job.decide()
  if (!findGarbage(view).some((item) => item.kind === 'content' && item.namespace === namespace && item.id === id)) {
    throw new PurserError('failed_precondition', `content ${id} is in use`, {
      remedy: 'remove the images that refer to it',
    })
  }
  const isElsewhere = [...view.list(content)].some((entry) => entry.id === id && entry.namespace !== namespace)
  if (!isElsewhere) effects.content.remove(parseDigest(id))
  return { facts, result: { digest: id } }
})
