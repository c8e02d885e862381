import { PurserError } from '../model/errors.ts'

/**
 * Signal numbers on Linux, without `SIG`; the same on x86, ARM, RISC-V, POWER and s390.
 *
 * @see signal(7), "Standard signals"
 */
export const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  IOT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  POLL: 29,
  PWR: 30,
  SYS: 31,
}

/** As glibc counts: it keeps 32 and 33 to itself. */
const REALTIME_MIN = 34
const REALTIME_MAX = 64

/**
 * A signal by name or number: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
 *
 * @returns 1 to 64
 * @throws PurserError invalid_argument
 */
export function parseSignal(text: string): number {
  const number = signalNumber(text)
  if (number !== undefined) return number
  throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 64))} is not a signal`, {
    remedy: 'name one as SIGTERM, TERM or 15; see kill -l',
  })
}

export const isSignal = (text: string): boolean => signalNumber(text) !== undefined

function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) return within(Number(text), 1)
  const name = text.toUpperCase().replace(/^SIG/, '')
  if (Object.hasOwn(SIGNALS, name)) return SIGNALS[name]
  const realtime = /^RT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$/.exec(name)
  if (realtime === null) return undefined
  const [, above = 0, below = 0] = realtime
  return within(name.startsWith('RTMIN') ? REALTIME_MIN + Number(above) : REALTIME_MAX - Number(below), REALTIME_MIN)
}

const within = (number: number, min: number): number | undefined =>
  number >= min && number <= REALTIME_MAX ? number : undefined
