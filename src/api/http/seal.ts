import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { Secret } from '../../model/secret.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const VALUES_MAX = 256
/** The kernel's MAX_ARG_STRLEN, less the sealing. */
const VALUE_BYTES_MAX = 90 * 1024

const seal = defineRoute({
  method: 'POST',
  path: '/v1/seal',
  summary:
    'Seals values of variables with the key of the node: what it answers may stand in `env`, for that variable and namespace',
  scope: 'namespace',
  query: noQuery,
  // Looked at by hand, so that no error says what a value is.
  body: z.strictObject({ values: z.record(z.string(), z.unknown()).describe('values (strings) by variable') }),
  answers: {
    200: {
      description: 'sealed values by variable',
      schema: z.strictObject({ sealed: z.record(z.string(), z.string()) }),
    },
  },
  async handle({ services: { sealing }, body: { values }, namespace }) {
    const given = Object.entries(values)
    if (given.length > VALUES_MAX) throw refused('values', `there are ${VALUES_MAX} at most`)
    const sealed = given.map(([name, value]) => {
      const field = `values.${name.slice(0, 100)}`
      if (!/^[^=\0]+$/.test(name)) throw refused(field, 'a variable has a name without = in it')
      if (typeof value !== 'string') throw refused(field, 'a value is a string')
      if (value.includes('\0')) throw refused(field, 'it must hold no NUL character')
      if (Buffer.byteLength(value) > VALUE_BYTES_MAX) throw refused(field, `it has ${VALUE_BYTES_MAX} bytes at most`)
      return [name, sealing.seal(new Secret(value), { namespace, name })]
    })
    return { status: 200, body: { sealed: Object.fromEntries(sealed) }, headers: { 'cache-control': 'no-store' } }
  },
})

const refused = (field: string, what: string): PurserError =>
  new PurserError('invalid_argument', `${field}: ${what}`, {
    field,
    remedy: 'see /v1/openapi.json for what is expected',
  })

export const sealing: Resource = { name: 'seal', routes: [seal] }
