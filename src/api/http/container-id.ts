import { container } from '../../commands/container.ts'
import { containerNames } from '../../commands/container-name.ts'
import { PurserError } from '../../model/errors.ts'
import type { Call } from './route.ts'
import { firstFrom } from './sorted-ids.ts'

const CANDIDATES_SHOWN = 5

/**
 * The container that is meant: one of this id, else one that is called so, else the only one whose id begins so.
 *
 * @throws PurserError not_found, or invalid_argument naming those that it could be
 */
export function containerId({ services, ids, namespace }: Call, text: string): string {
  if (services.log.documents.read(container.name, namespace, text).version > 0) return text
  const named = services.log.documents.get(containerNames, namespace, text)
  if (named.status === 'taken') return named.container
  const all = ids.of(container.name, namespace)
  const candidates: string[] = []
  for (let at = firstFrom(all, text); candidates.length <= CANDIDATES_SHOWN; at++) {
    const id = all[at]
    if (id === undefined || text === '' || !id.startsWith(text)) break
    candidates.push(id)
  }
  const [only, ...others] = candidates
  if (only === undefined) {
    throw new PurserError('not_found', `container ${text.slice(0, 100)} is not in namespace ${namespace}`, {
      remedy: 'purser ps -a lists what there is',
    })
  }
  if (others.length === 0) return only
  const shown = candidates.slice(0, CANDIDATES_SHOWN).join(', ')
  const more = candidates.length > CANDIDATES_SHOWN ? ' …' : ''
  throw new PurserError('invalid_argument', `${text} could be one of several containers: ${shown}${more}`, {
    field: 'id',
    remedy: 'give more characters of its id',
  })
}
