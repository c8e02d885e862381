import { PurserError } from '../../model/errors.ts'

const PASSWORD_BYTES_MAX = 64 * 1024

/** Options of verbs that talk to a registry as somebody; the password comes by stdin, where no process list shows it. */
export const registryAuthOptions = {
  user: { short: 'u', value: 'name', help: 'to log in to the registry as, for this once; with --password-stdin' },
  'password-stdin': { help: 'read the password or token of --user from stdin' },
} as const

interface RegistryAuthFlags {
  user: string | undefined
  'password-stdin': boolean
}

/** @throws PurserError invalid_argument when one is given without the other */
export async function readRegistryAuth(
  flags: RegistryAuthFlags,
): Promise<{ username: string; password: string } | undefined> {
  const { user: username } = flags
  if ((username !== undefined) !== flags['password-stdin']) {
    throw new PurserError('invalid_argument', '--user and --password-stdin belong together', {
      remedy: 'write: purser pull --user NAME --password-stdin IMAGE < FILE',
    })
  }
  if (username === undefined) return undefined
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk)
    length += chunk.length
    if (length > PASSWORD_BYTES_MAX) break
  }
  const password = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '')
  if (password !== '' && length <= PASSWORD_BYTES_MAX) return { username, password }
  throw new PurserError('invalid_argument', `stdin has ${password === '' ? 'no' : 'too long a'} password`, {
    remedy: 'redirect it from a file, or pipe it in',
  })
}
