import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isHeard } from '../../host/signal-dispositions.ts'

/** What tells, after a daemon was killed while it sent a signal, whether that may be sent again. */
export interface Sending {
  bundle: string
  /** Of the command. */
  commandId: string
  signal: number
  /** Whom it is for. */
  pids: readonly number[] | 'unknown'
}

const noteOf = (bundle: string): string => join(bundle, 'sent-signal')

const textOf = ({ commandId, signal, pids }: Sending): string =>
  `${commandId} ${isHeard(signal, pids) ? 'heard' : 'unheard'}`

/** Notes that a signal is about to be sent. */
export function noteSending(sending: Sending): void {
  try {
    writeFileSync(noteOf(sending.bundle), textOf(sending), { mode: 0o600 })
  } catch {
    // A full disk keeps nobody from ending what fills it.
  }
}

/** It may where it was not sent, and where nobody hears it, then or now. */
export function mayBeSentAgain(sending: Sending): boolean {
  let note = ''
  try {
    note = readFileSync(noteOf(sending.bundle), 'utf8')
  } catch {
    return true
  }
  if (!note.startsWith(`${sending.commandId} `)) return true
  return note.endsWith(' unheard') && textOf(sending) === note
}
