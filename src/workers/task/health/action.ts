import type { Health } from '../../../commands/task.ts'
import type { CommandRequest } from '../../../model/command.ts'

type Asked = Pick<CommandRequest, 'type' | 'payload'>

/** @returns the command that is asked for when a task has become unhealthy, if any; it is the same one until its health changes */
export function actionOn(
  namespace: string,
  id: string,
  { check, status, since }: Health,
): (Asked & { subject: string; namespace: string; idempotencyKey: string }) | undefined {
  const asked = status === 'unhealthy' ? commandFor(check.onFailure) : undefined
  return asked && { ...asked, subject: id, namespace, idempotencyKey: `health/${id}/${since}` }
}

function commandFor(action: Health['check']['onFailure']): Asked | undefined {
  switch (action) {
    case 'kill':
      return { type: 'task.kill', payload: { signal: 'SIGKILL' } }
    case 'restart':
      return { type: 'container.restart', payload: {} }
    case 'stop':
      return { type: 'container.stop', payload: {} }
    default:
      return undefined
  }
}
