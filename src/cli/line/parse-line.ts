import { PurserError } from '../../model/errors.ts'
import { suggestion } from './suggest.ts'
import type { ArgumentSpec, OptionSpec, OptionSpecs } from './verb.ts'

// A static import would load every part of the module.
const { parseArgs } = process.getBuiltinModule('node:util')

export interface ParsedLine {
  /** By long name: `true` or `false`, a value, or a list of values. Only what was given. */
  given: Record<string, unknown>
  args: string[]
}

export type OptionsEnd = 'nowhere' | 'first-argument' | 'second-argument'

export interface LineShape {
  options: OptionSpecs
  /** Where options end: `nowhere`, or at an argument, which is kept with all that follows as it is. */
  optionsEnd: OptionsEnd
}

/**
 * Reads options and arguments from words of a command line.
 *
 * @throws PurserError invalid_argument, naming option and value
 */
export function parseLine(words: readonly string[], { options, optionsEnd }: LineShape): ParsedLine {
  const { tokens } = parseArgs({
    args: [...words],
    options: parserOptions(options),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const given: Record<string, unknown> = {}
  const args: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') {
      const isEnd = optionsEnd === 'first-argument' || (optionsEnd === 'second-argument' && args.length === 1)
      if (isEnd) return { given, args: [...args, ...words.slice(token.index)] }
      args.push(token.value)
    } else if (token.kind === 'option') {
      const spec = Object.hasOwn(options, token.name) ? options[token.name] : undefined
      if (spec === undefined) throw unknownOption(token.rawName, options)
      const value = readValue(token.rawName, spec, token.value)
      if ('many' in spec) given[token.name] = [...((given[token.name] as unknown[] | undefined) ?? []), value]
      else given[token.name] = value
    }
  }
  return { given, args }
}

/** What a verb sees: every option has a value, be it `false`, `undefined` or an empty list. */
export function withDefaults(given: Readonly<Record<string, unknown>>, options: OptionSpecs): Record<string, unknown> {
  const flags: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(options)) {
    flags[name] = given[name] ?? ('value' in spec ? ('many' in spec ? [] : undefined) : false)
  }
  return flags
}

/** @throws PurserError invalid_argument when there are too few or too many */
export function checkArguments(args: readonly string[], specs: readonly ArgumentSpec[]): void {
  const required = specs.filter(({ count }) => count === '1' || count === '1-')
  const missing = required[args.length]
  if (missing) throw new PurserError('invalid_argument', `<${missing.name}> is missing`)
  const isOpen = specs.some(({ count }) => count.endsWith('-'))
  const surplus = args[specs.length]
  if (!isOpen && surplus !== undefined) {
    throw new PurserError('invalid_argument', `${JSON.stringify(surplus)} is one argument too many`)
  }
}

function parserOptions(options: OptionSpecs) {
  const known: NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']> = {}
  for (const [name, spec] of Object.entries(options)) {
    known[name] = {
      type: 'value' in spec ? 'string' : 'boolean',
      ...(spec.short === undefined ? {} : { short: spec.short }),
      multiple: true,
    }
  }
  return known
}

function readValue(name: string, spec: OptionSpec, text: string | undefined): unknown {
  if (!('value' in spec)) {
    if (text === undefined || text === 'true') return true
    if (text === 'false') return false
    throw new PurserError('invalid_argument', `${name}=${text}: the option is either there or not`, {
      remedy: `write ${name} alone`,
    })
  }
  if (text === undefined) {
    throw new PurserError('invalid_argument', `${name} has no value`, { remedy: `write ${name} <${spec.value}>` })
  }
  if (spec.choices && !spec.choices.includes(text)) {
    throw new PurserError(
      'invalid_argument',
      `${name} ${JSON.stringify(text)} is not one of its values${suggestion(text, spec.choices)}`,
      { remedy: `write one of ${spec.choices.join(', ')}` },
    )
  }
  if (!spec.parse) return text
  try {
    return spec.parse(text)
  } catch (cause) {
    if (!(cause instanceof PurserError)) throw cause
    const { code, message, remedy } = cause
    throw new PurserError(code, `${name}: ${message}`, { cause, ...(remedy === undefined ? {} : { remedy }) })
  }
}

function unknownOption(rawName: string, options: OptionSpecs): PurserError {
  const names = Object.keys(options).map((name) => `--${name}`)
  const like = rawName.startsWith('--') ? suggestion(rawName, names) : ''
  return new PurserError('invalid_argument', `there is no option ${rawName}${like}`)
}
