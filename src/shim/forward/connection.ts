import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { whileWanted } from '../../model/concurrency.ts'

const ANSWER_MS = 30_000

/** A stream connection that is made when something is to be sent, and made anew when it has broken. */
export class Connection implements Disposable {
  readonly #target: { path: string } | { host: string; port: number }
  #socket: Socket | undefined
  /** Is told what the other side says; nobody asks by default. */
  #hear = (_: Buffer): void => {}

  constructor(target: { path: string } | { host: string; port: number }) {
    this.#target = target
  }

  /** Fulfilled when the kernel has taken it. */
  async write(bytes: Buffer, signal: AbortSignal): Promise<void> {
    const socket = await this.#open(signal)
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const onClose = () => reject(new Error('the connection was closed'))
      socket.once('close', onClose)
      socket.write(bytes, (error) => {
        signal.removeEventListener('abort', onAbort)
        socket.off('close', onClose)
        if (error) reject(error)
        else resolve()
      })
    })
  }

  /**
   * Fulfilled when the other side has answered, and with nothing else.
   *
   * @throws when it says something else, nothing in time, or goes: the connection is closed then
   */
  async ask(question: Buffer, answer: Buffer, signal: AbortSignal): Promise<void> {
    const heard = Promise.withResolvers<void>()
    let said: Buffer = Buffer.alloc(0)
    this.#hear = (chunk) => {
      said = Buffer.concat([said, chunk])
      if (said.equals(answer)) heard.resolve()
      else if (said.length >= answer.length) heard.reject(new Error('the receiver acknowledged something else'))
    }
    const onClose = () => heard.reject(new Error('the connection was closed before anything was acknowledged'))
    try {
      await this.write(question, signal)
      if (this.#socket?.destroyed) onClose()
      this.#socket?.once('close', onClose)
      await whileWanted(heard.promise, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]))
    } catch (error) {
      this.#socket?.destroy() // What comes later is no answer to the next question.
      throw error
    } finally {
      this.#socket?.off('close', onClose)
      this.#hear = () => {}
    }
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy()
  }

  async #open(signal: AbortSignal): Promise<Socket> {
    if (this.#socket && !this.#socket.destroyed && this.#socket.writable) return this.#socket
    const socket = connect(this.#target)
    try {
      await once(socket, 'connect', { signal })
    } catch (error) {
      socket.destroy()
      throw error
    }
    socket.on('error', () => socket.destroy()) // Whoever writes hears of it.
    socket.on('end', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => this.#hear(chunk))
    socket.unref()
    this.#socket = socket
    return socket
  }
}
