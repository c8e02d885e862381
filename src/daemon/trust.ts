import { isDeepStrictEqual } from 'node:util'
import { type TrustRules, trust } from '../commands/trust.ts'
import type { EventLog } from '../log/event-log.ts'
import { spontaneous } from '../model/event.ts'
import type { ImageVerifier } from '../trust/verifier.ts'

/** Has it on record which policies for images are in force from this start on. */
export async function recordTrust(log: EventLog, verifier: ImageVerifier): Promise<void> {
  const rules: TrustRules = { policies: verifier.policies, deny: verifier.denied }
  if (isDeepStrictEqual(log.documents.get(trust, 'default', 'node'), rules)) return
  await log.record([trust.fact('node', 'trust.configured', rules)], 'default', spontaneous('trust'))
}
