import { readFileSync } from 'node:fs'
import { PurserError } from '../../model/errors.ts'
import { environmentVariable } from '../line/environment.ts'

/** `KEY=VALUE`; `KEY` alone is taken from the environment, and left out where it is not set there. */
export function variable(text: string): string[] {
  const at = text.indexOf('=')
  if (at === 0 || text === '') {
    throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a variable: it has no name`, {
      remedy: 'write KEY=VALUE, or KEY to take it from here',
    })
  }
  if (at > 0) return [text]
  const value = environmentVariable(text)
  return value === undefined ? [] : [`${text}=${value}`]
}

/**
 * docker's `--env-file`: a variable a line as for `-e`, values as they are, `#` begins a line that is a comment.
 *
 * @throws PurserError naming file and line
 */
export function envFile(path: string): string[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PurserError('not_found', `the file ${path} cannot be read`, { cause, remedy: 'name one that can' })
  }
  return text.split(/\r?\n/).flatMap((line, index) => {
    const trimmed = line.trimStart()
    if (trimmed === '' || trimmed.startsWith('#')) return []
    const name = trimmed.split('=', 1)[0] ?? ''
    if (name === '' || /\s/.test(name)) {
      throw new PurserError(
        'invalid_argument',
        `${path}:${index + 1}: ${JSON.stringify(name)} is not a variable's name`,
        {
          remedy: 'write KEY=VALUE, with no space in KEY',
        },
      )
    }
    return variable(trimmed)
  })
}
