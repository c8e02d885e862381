import { PurserError } from '../../model/errors.ts'

/** Parser of a whole number. */
export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a whole number from ${min} to ${max}`, {
      remedy: `write one, such as ${Math.min(max, Math.max(min, 100))}`,
    })
  }

/** A number of CPUs, with a fraction: `1.5`. */
export function cpus(text: string): number {
  const value = /^\d{0,4}(?:\.\d{1,9})?$/.test(text) && text !== '' ? Number(text) : Number.NaN
  if (value >= 0.01) return value
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a number of CPUs`, {
    remedy: 'write 0.01 or more, such as 1.5',
  })
}

/** Parser of `KEY=VALUE`, which has a key. @param what it is, for the refusal: `a label` */
export const keyValue =
  (what: string) =>
  (text: string): [key: string, value: string] => {
    const at = text.indexOf('=')
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
    throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not ${what}`, { remedy: 'write KEY=VALUE' })
  }
