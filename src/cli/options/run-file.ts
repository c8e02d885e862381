import type { CommandPayload, PurserClient } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import { parseLine, withDefaults } from '../line/parse-line.ts'
import { suggestion } from '../line/suggest.ts'
import { isMapping, type Mapping, readYamlFile } from '../line/yaml-file.ts'
import { type ContainerFlags, containerOptions, containerPayload } from './container.ts'

type Parts = CommandPayload<'project.up'>['containers']
type Part = Parts[string]

const PAGE = 'docs/life.md'

/** What the file names otherwise, or what a container of a project does not have. */
const {
  name: _name,
  rm: _rm,
  priority: _priority,
  'idempotency-key': _key,
  sandbox: _sandbox,
  ...options
} = containerOptions

const OTHER_KEYS = ['image', 'args', 'depends-on', 'networks']

const CONDITIONS = ['started', 'healthy', 'completed'] as const

export interface RunFile {
  /** Where the file gives one. */
  name: string | undefined
  containers: Parts
}

/**
 * Several containers from a file. The keys of each are the long options of `purser run`, and mean what they mean there; besides
 * there are `image`, `args`, `depends-on` and `networks`, which is the same as `network`.
 *
 * @throws PurserError invalid_argument, naming file, container and key
 */
export async function readRunFile(client: PurserClient, path: string): Promise<RunFile> {
  const { name, containers, ...rest } = await readYamlFile(path, PAGE)
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw wrong(path, `there is no key ${unknown}`, 'known are name and containers')
  if (name !== undefined && typeof name !== 'string') throw wrong(path, 'name is no text', 'write name: shop')
  if (!isMapping(containers))
    throw wrong(path, 'it has no containers', 'write containers: and below it NAME: and its options')
  const parts: Parts = {}
  for (const [key, part] of Object.entries(containers)) {
    const where = `${path}: containers.${key}`
    if (!isMapping(part)) throw wrong(where, 'it is not a mapping of options to values', 'write image: REF')
    parts[key] = await partOf(client, where, part)
  }
  return { name, containers: parts }
}

async function partOf(client: PurserClient, where: string, given: Mapping): Promise<Part> {
  const { image, args, 'depends-on': dependsOn, networks, ...own } = given
  if (typeof image !== 'string' || image === '') throw wrong(`${where}.image`, 'there is none', 'write image: REF')
  const keys = networks === undefined ? own : { ...own, network: networks }
  for (const key of Object.keys(keys)) {
    if (Object.hasOwn(options, key)) continue
    const like = suggestion(key, [...Object.keys(options), ...OTHER_KEYS])
    throw wrong(
      where,
      `there is no key ${key}${like}`,
      `known are ${OTHER_KEYS.join(', ')} and the long options of purser run`,
    )
  }
  const words = Object.entries(keys).flatMap(([key, value]) => wordsOf(`${where}.${key}`, key, value))
  const flags = flagsOf(where, words)
  const line = args === undefined ? [] : textsOf(`${where}.args`, args)
  const { onExit: _, ...run } = await containerPayload(client, image, line, flags)
  return { run, dependsOn: dependenciesOf(`${where}.depends-on`, dependsOn) }
}

function flagsOf(where: string, words: readonly string[]): ContainerFlags {
  try {
    const { given } = parseLine(words, { options, optionsEnd: 'nowhere' })
    // The parsers of the options give the values their types.
    return withDefaults(given, containerOptions) as ContainerFlags
  } catch (cause) {
    if (!(cause instanceof PurserError)) throw cause
    const { code, message, remedy } = cause
    throw new PurserError(code, `${where}: ${message}`, { cause, ...(remedy === undefined ? {} : { remedy }) })
  }
}

/** A key and its value as words of a command line: a list is an option that is given several times, a mapping `KEY=VALUE`. */
function wordsOf(where: string, key: string, value: unknown): string[] {
  const values = isMapping(value)
    ? Object.entries(value).map(([name, each]) => `${name}=${textOf(`${where}.${name}`, each)}`)
    : textsOf(where, value)
  return values.map((each) => `--${key}=${each}`)
}

const textsOf = (where: string, value: unknown): string[] =>
  Array.isArray(value) ? value.map((each, at) => textOf(`${where}.${at}`, each)) : [textOf(where, value)]

function textOf(where: string, value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw wrong(where, 'it is neither a text nor a number', 'write it as on the command line')
}

/** `[db, cache]` or `{db: healthy}`. */
function dependenciesOf(where: string, value: unknown): Part['dependsOn'] {
  if (value === undefined) return {}
  if (!isMapping(value)) return Object.fromEntries(textsOf(where, value).map((name) => [name, 'started' as const]))
  return Object.fromEntries(
    Object.entries(value).map(([name, text]) => {
      const condition = CONDITIONS.find((each) => each === text)
      if (condition) return [name, condition]
      const remedy = `write one of ${CONDITIONS.join(', ')}`
      throw wrong(`${where}.${name}`, `${JSON.stringify(text)} is no condition`, remedy)
    }),
  )
}

const wrong = (where: string, what: string, remedy: string): PurserError =>
  new PurserError('invalid_argument', `${where}: ${what}`, { remedy: `${remedy}; ${PAGE} describes the file` })
