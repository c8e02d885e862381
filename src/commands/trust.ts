import { z } from 'zod'
import { defineAggregate } from '../model/aggregate.ts'
import { digestSchema } from '../model/digest.ts'
import { event } from '../model/event-schema.ts'

const rules = z.strictObject({
  policies: z.array(
    z.strictObject({
      match: z.string().describe('pattern of registry/repository'),
      require: z.string().describe('cosign, notation, nothing, refusal'),
      fingerprint: z.string().describe('of the policy and of the keys that it names'),
    }),
  ),
  deny: z.array(digestSchema).describe('images that are never used'),
})
export type TrustRules = z.output<typeof rules>

/**
 * What the configuration asks of images, as it was when the daemon started: so that it is on record since when, and that the
 * use of an image can be decided without asking anybody. Its one id is `node`, in namespace `default`.
 */
export const trust = defineAggregate({
  name: 'trust',
  id: z.literal('node', 'the subject of trust is "node"'),
  initial: { policies: [], deny: [] } as TrustRules,
  commands: {},
  leadsTo: {},
  events: { 'trust.configured': event(1, 'other policies for images are in force', rules) },
  decide: () => [],
  evolve: (_state, { data }): TrustRules => data,
})
