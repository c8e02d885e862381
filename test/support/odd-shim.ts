import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const PROGRAM = join(import.meta.dirname, 'odd-shim-program.ts')

/** What a shim does instead of answering a call, or before. */
export interface Fault {
  delayMs?: number
  does?: 'never' | 'garbage' | 'die' | 'refuse' | 'hang-up'
}

export interface Behaviour {
  /** Its version. */
  says?: string
  taskApi?: 2 | 3
  protocol?: 'ttrpc' | 'grpc'
  /** How it tells its address: up to containerd 1.7, from 2.0, from 2.3, never. */
  answer?: 'address' | 'json' | 'binary' | 'garbage'
  /** What it reads on the standard input of its start. */
  takes?: 'options' | 'params'
  start?: 'never' | 'fail'
  /** Whether it keeps sandboxes; `timeless`: it tells of an end at once, without a time, and ends when that is asked to. */
  sandboxes?: 'kept' | 'timeless'
  /** By the method of its services, such as `Create` or `StartSandbox`; they hold from the next call on. */
  faults?: Readonly<Record<string, Fault>>
  /** How far it gets with a checkpoint, and how that ends; it is whole without it. */
  checkpoint?: 'half-refused' | 'half-hangs' | 'half-dies' | 'whole-unanswered'
  /** How it tells of the exit of a container, besides answering `Wait`; once without it. */
  exit?: 'once' | 'twice' | 'before-start' | 'unreported' | 'invented' | 'of-another'
}

export interface OddShim {
  /** Of the program. */
  path: string
  behave(behaviour: Behaviour): void
}

/** Puts a shim on the disk whose faults are as wanted. */
export function makeOddShim(dir: string, behaviour: Behaviour, name = 'containerd-shim-odd-v1'): OddShim {
  mkdirSync(dir, { recursive: true })
  const path = join(dir, name)
  const file = join(dir, `${name}.json`)
  const behave = (next: Behaviour) => {
    writeFileSync(`${file}.new`, JSON.stringify(next)) // Never read half written.
    renameSync(`${file}.new`, file)
  }
  behave(behaviour)
  const cache = process.env.NODE_COMPILE_CACHE
  const lines = [
    '#!/bin/sh',
    cache === undefined ? '' : `export NODE_COMPILE_CACHE=${cache}`,
    `exec ${process.execPath} ${PROGRAM} ${file} "$@"`,
  ]
  writeFileSync(path, `${lines.join('\n')}\n`)
  chmodSync(path, 0o755)
  return { path, behave }
}
