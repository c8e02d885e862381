import type { PurserClient } from '../../client/index.ts'
import type { Format } from '../terminal/output.ts'

/** What stands where a value is wanted, so that a shell can complete it. `file` is left to the shell. */
export type Source =
  | 'command'
  | 'container'
  | 'content'
  | 'file'
  | 'image'
  | 'job'
  | 'namespace'
  | 'network'
  | 'network-mode'
  | 'sandbox'
  | 'shell'
  | 'subject'
  | 'verb'

/** An option without a value: present or not. `--rm=false` takes it back. */
export interface SwitchOption {
  short?: string
  help: string
}

/** An option with a value. */
export interface ValueOption<T = unknown> {
  short?: string
  /** What the value is, for the help: `bytes`. */
  value: string
  help: string
  /** The only values there are. */
  choices?: readonly string[]
  /** Given more than once, all count; otherwise the last one does. */
  many?: true
  /** @throws PurserError saying what is wrong with the text; the option's name is put before it */
  parse?: (text: string) => T
  completes?: Source
}

export type OptionSpec = SwitchOption | ValueOption
export type OptionSpecs = Readonly<Record<string, OptionSpec>>

type ValueOf<O> = O extends { parse: (text: string) => infer T } ? T : string
type FlagOf<O> = O extends { value: string }
  ? O extends { many: true }
    ? ValueOf<O>[]
    : ValueOf<O> | undefined
  : boolean

/** The options of a command line under their long names, parsed. */
export type FlagsOf<O extends OptionSpecs> = { [K in keyof O]: FlagOf<O[K]> }

export interface ArgumentSpec {
  name: string
  /** How many there are: one, none or one, one or more, none or more. */
  count: '1' | '0-1' | '1-' | '0-'
  completes?: Source
}

/** What a verb is called with. */
export interface Call<O extends OptionSpecs> {
  flags: FlagsOf<O>
  /** As many as the definition asks for. */
  args: readonly string[]
  client: PurserClient
  format: Format
  debug: boolean
  /** The namespace where the caller named one; undefined when the default stands in. */
  namespaceGiven: string | undefined
  /** All that there are: for help and completion. */
  verbs: readonly Listed[]
}

export interface Verb<O extends OptionSpecs = OptionSpecs> {
  args: readonly ArgumentSpec[]
  options: O
  /** From an argument on, everything is for the program that is run. */
  passThrough?: 'first-argument' | 'second-argument'
  /** How failures end: by sysexits(3), or as docker's `run` and `exec` do, so that they differ from the container's own. */
  failsLike?: 'docker'
  /** @returns the exit status; 0 without one */
  run(call: Call<O>): Promise<number | undefined>
}

/** Gives a verb's `run` the types of its own options. */
export const defineVerb = <const O extends OptionSpecs>(verb: Verb<O>): Verb<O> => verb

/** A verb before its file is loaded: only the one that is asked for is, so that each command starts fast. */
export interface ListedVerb {
  name: string
  summary: string
  hidden?: true
  // biome-ignore lint/suspicious/noExplicitAny: where verbs of different options meet
  load(): Promise<{ verb: Verb<any> }>
}

export interface VerbGroup {
  name: string
  summary: string
  verbs: readonly ListedVerb[]
}

export type Listed = ListedVerb | VerbGroup
