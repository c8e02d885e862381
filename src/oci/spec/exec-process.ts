import { posix } from 'node:path'
import { PurserError } from '../../model/errors.ts'
import { capabilitiesOf } from './build-spec.ts'
import type { ExecOptions } from './container-options.ts'
import { hasVariable, mergeEnv } from './environment.ts'
import type { Process, Spec } from './schema.ts'
import { groupsAdded, resolveUser, type UserFiles } from './users.ts'

/** What is asked of it, and what the container was asked for that is its own too. */
type ExecRequest = Omit<ExecOptions, 'stdin'> & { groupAdd?: readonly string[] | undefined }

/**
 * One more process in a running container: the container's own, with what the request changes. Another user gets its own
 * groups and home, unless the container's HOME was chosen rather than looked up; and the groups that were added to the container's.
 *
 * @param users of the container's root file system as it is now
 * @throws PurserError invalid_argument when there is nothing to run or the user is unknown; failed_precondition when the
 *   user files exceed their bounds
 */
export function buildExecProcess(spec: Spec, request: ExecRequest, users: UserFiles): Process {
  if (!request.args[0]) {
    throw new PurserError('invalid_argument', 'there is nothing to run', {
      remedy: 'give a command after the container',
      field: 'args',
    })
  }
  const { terminal: _terminal, consoleSize: _consoleSize, ...own } = spec.process
  const user = request.user === undefined ? undefined : resolveUser(request.user, users)
  return {
    ...own,
    ...(request.tty ? { terminal: true } : {}),
    ...(user === undefined
      ? {}
      : {
          user: {
            uid: user.uid,
            gid: user.gid,
            additionalGids: groupsAdded(user.additionalGids, request.groupAdd ?? [], users.group),
          },
          capabilities: capabilitiesOf(user.uid, own.capabilities.bounding),
        }),
    args: [...request.args],
    env: mergeEnv(
      own.env,
      request.tty && !hasVariable(own.env, 'TERM') ? ['TERM=xterm'] : [],
      user !== undefined && homeWasLookedUp(own, users) ? [`HOME=${user.home}`] : [],
      request.env,
    ),
    cwd: posix.resolve('/', request.workingDir ?? own.cwd),
  }
}

function homeWasLookedUp(own: Process, users: UserFiles): boolean {
  const { home } = resolveUser(String(own.user.uid), users)
  return own.env.includes(`HOME=${home}`) || !hasVariable(own.env, 'HOME')
}
