import type { Secret } from '../model/secret.ts'

/** What proves to a registry who asks. */
export type Credentials =
  | { kind: 'password'; username: string; password: Secret }
  /** An OAuth 2 refresh token, which a token service exchanges. */
  | { kind: 'identity-token'; token: Secret }
  /** A bearer token that the registry takes as it is. */
  | { kind: 'registry-token'; token: Secret }

/** @param registry as references have it: `docker.io`, `localhost:5000` */
export type CredentialsSource = (registry: string, signal: AbortSignal) => Promise<Credentials | undefined>
