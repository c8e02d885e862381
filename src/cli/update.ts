import { PurserError } from '../model/errors.ts'
import { defineContainersVerb } from './line/each-container.ts'
import { restartOption } from './options/life.ts'

export const verb = defineContainersVerb('container.update', restartOption, ({ restart }) => {
  if (restart !== undefined) return { restart }
  throw new PurserError('invalid_argument', 'there is nothing to change', { remedy: 'give --restart POLICY' })
})
