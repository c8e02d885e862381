import { closeSync, openSync } from 'node:fs'
import { get } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { CLONE, setns } from '../host/syscalls.ts'

/** What reach.ts asks of this thread: it tries until it is ended, or once. */
export interface ReachRequest {
  /** Of a process in the network namespace. */
  pid: number
  port: number
  /** With one, an HTTP GET; without, a connection is enough. */
  path?: string
  /** Milliseconds that one attempt has, after which there is no other. */
  onceMs?: number
}

const ATTEMPT_MS = 1000
const AGAIN_MS = 20

const { pid, port, path, onceMs }: ReachRequest = workerData
const attemptMs = onceMs ?? ATTEMPT_MS
const namespace = openSync(`/proc/${pid}/ns/net`, 'r')
setns(namespace, CLONE.NEWNET) // Of this thread alone.
closeSync(namespace)

/** Undefined when it is served, or else why not. */
type Refusal = string | undefined

const takesConnection = () =>
  new Promise<Refusal>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const settle = (refusal: Refusal) => {
      socket.destroy()
      resolve(refusal)
    }
    socket.setTimeout(attemptMs, () => settle('no answer'))
    socket.once('connect', () => settle(undefined)).once('error', (error) => settle(error.message))
  })

const answers = (at: string) =>
  new Promise<Refusal>((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: at, agent: false, timeout: attemptMs }, (response) => {
      const { statusCode = 500 } = response
      response.destroy()
      resolve(statusCode >= 200 && statusCode < 400 ? undefined : `HTTP ${statusCode}`)
    })
    request
      .once('timeout', () => request.destroy(new Error('no answer')))
      .once('error', (error) => resolve(error.message))
  })

let refusal: Refusal = ''
while (refusal !== undefined) {
  refusal = await (path === undefined ? takesConnection() : answers(path))
  if (onceMs !== undefined) break
  if (refusal !== undefined) await delay(AGAIN_MS)
}
parentPort?.postMessage(refusal)
