import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A stream connection that is made when something is to be sent, and made anew when it has broken. */
export class Connection implements Disposable {
  readonly #target: { path: string } | { host: string; port: number }
  #socket: Socket | undefined

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
    socket.resume()
    socket.unref()
    this.#socket = socket
    return socket
  }
}
