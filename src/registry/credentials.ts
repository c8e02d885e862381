import type { Secret } from '../model/secret.ts'

/** What proves to a registry who asks. */
export type Credentials =
  | { kind: 'password'; username: string; password: Secret }
  /** An OAuth 2 refresh token, which a token service exchanges. */
  | { kind: 'identity-token'; token: Secret }
  /** A bearer token that the registry takes as it is. */
  | { kind: 'registry-token'; token: Secret }

/** For what they are wanted. */
export interface CredentialsTarget {
  /** As references have it: `docker.io`, `localhost:5000`; for a mirror its own name. */
  registry: string
  repository: string
  /** Whether what was given before was refused, so that a copy of it is of no use. */
  refused: boolean
}

/** Asked each time that a registry wants to know who asks, also when what it gave before does not hold any more. */
export type CredentialsSource = (target: CredentialsTarget, signal: AbortSignal) => Promise<Credentials | undefined>

/** Whether two are the same, so that trying the other one is of no use either. */
export function sameCredentials(one: Credentials | undefined, other: Credentials | undefined): boolean {
  const told = (given: Credentials | undefined) =>
    given?.kind === 'password' ? `${given.username}:${given.password.reveal()}` : given?.token.reveal()
  return one?.kind === other?.kind && told(one) === told(other)
}

/** The first source that has some. */
export function firstOf(...sources: readonly CredentialsSource[]): CredentialsSource {
  return async (target, signal) => {
    for (const source of sources) {
      const found = await source(target, signal)
      if (found) return found
    }
  }
}
