import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { z } from 'zod'
import { aggregates } from '../../../src/commands/index.ts'
import { isRefusal } from '../../../src/model/aggregate.ts'
import { ERROR_CODES } from '../../../src/model/errors.ts'
import type { EventSchema } from '../../../src/model/event-schema.ts'
import { arbitraryOf } from '../../support/arbitraries.ts'
import { eventOf, freeze, idsOf, NOW, pasts } from '../../support/commands.ts'

for (const aggregate of aggregates.values()) {
  const { name, initial } = aggregate
  const histories = fc.array(eventOf(aggregate), { maxLength: 12 })

  test(`${name}: any sequence of its events leaves a state that is plain JSON, and the same one each time`, () => {
    freeze(initial)
    fc.assert(
      fc.property(histories, (events) => {
        let state = initial
        let stored = initial
        for (const event of freeze(events)) {
          state = freeze(aggregate.evolve(state, event)) // A fold that changes what it was given throws.
          // As a daemon does that was started between any two events.
          const loaded = aggregate.exists(stored) ? JSON.parse(JSON.stringify(stored)) : initial
          stored = aggregate.evolve(loaded, event)
        }
        assert.deepEqual(JSON.parse(JSON.stringify(state)), state)
        assert.equal(JSON.stringify(stored), JSON.stringify(state))
      }),
      { numRuns: 200 },
    )
  })

  for (const [type, schema] of Object.entries<z.ZodType>(aggregate.commands)) {
    test(`${type}: whatever happened before, it is decided by events of the aggregate or refused with a remedy`, () => {
      const inputs = fc.record({
        view: pasts(12),
        before: histories,
        id: fc.constantFrom(...idsOf(aggregate)),
        payload: arbitraryOf(schema).map((payload) => schema.parse(payload)),
      })
      fc.assert(
        fc.property(inputs, ({ view, before, id, payload }) => {
          let state = initial
          for (const event of before) state = aggregate.evolve(state, event)
          freeze(state)
          const command = freeze({
            type,
            id: '01890000-0000-7000-8000-00000000000a',
            namespace: 'default',
            subject: id,
            issuedAt: NOW,
            actor: 'unix:uid=0,gid=0,pid=17',
            payload,
          })
          const decision = aggregate.decide(state, command, view)
          assert.deepEqual(aggregate.decide(state, command, view), decision)
          if (isRefusal(decision)) {
            const { code, message, remedy } = decision.refused
            assert.ok(Object.hasOwn(ERROR_CODES, code))
            assert.match(message, /\S/)
            assert.match(remedy ?? '', /\S/, `${message}: and what can be done?`)
            return
          }
          for (const event of decision) {
            const known: EventSchema | undefined = aggregate.events[event.type]
            assert.ok(known, event.type)
            assert.ok(aggregate.leadsTo[type]?.includes(event.type), event.type)
            known.data.parse(event.data)
          }
        }),
        { numRuns: 100 },
      )
    })
  }
}
