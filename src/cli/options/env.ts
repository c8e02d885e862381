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

/** `KEY`, taken from the environment: a value on a command line can be read by whoever lists processes. */
export function secretVariable(text: string): string[] {
  if (text === '' || text.includes('=')) {
    throw new PurserError('invalid_argument', `${JSON.stringify(text.split('=', 1)[0])}: only the name is given here`, {
      remedy: 'write --secret-env KEY, with the value in the environment; or --secret-env-file FILE',
    })
  }
  const value = environmentVariable(text)
  if (value !== undefined) return [`${text}=${value}`]
  throw new PurserError('invalid_argument', `there is no variable ${text} in the environment`, {
    remedy: 'set and export it; or name a file with --secret-env-file',
  })
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
