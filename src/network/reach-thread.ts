import { closeSync, openSync } from 'node:fs'
import { get } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { CLONE, setns } from '../host/syscalls.ts'

/** What reach.ts asks of this thread: it tries until it is ended. */
export interface ReachRequest {
  /** Of a process in the network namespace. */
  pid: number
  port: number
  /** With one, an HTTP GET; without, a connection is enough. */
  path?: string
}

const ATTEMPT_MS = 1000
const AGAIN_MS = 20

const { pid, port, path }: ReachRequest = workerData
const namespace = openSync(`/proc/${pid}/ns/net`, 'r')
setns(namespace, CLONE.NEWNET) // Of this thread alone.
closeSync(namespace)

const takesConnection = () =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const settle = (reached: boolean) => {
      socket.destroy()
      resolve(reached)
    }
    socket.setTimeout(ATTEMPT_MS, () => settle(false))
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
  })

const answers = (at: string) =>
  new Promise<boolean>((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: at, agent: false, timeout: ATTEMPT_MS }, (response) => {
      const { statusCode = 500 } = response
      response.destroy()
      resolve(statusCode >= 200 && statusCode < 400)
    })
    request.once('timeout', () => request.destroy()).once('error', () => resolve(false))
  })

while (!(await (path === undefined ? takesConnection() : answers(path)))) await delay(AGAIN_MS)
parentPort?.postMessage('reached')
