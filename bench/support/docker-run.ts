import type { Docker } from '../../test/support/docker.ts'
import { Api } from './purser.ts'

const API = '/v1.41/containers'

/** Starts containers by docker's own API, over connections that stay open. */
export class DockerRunner implements Disposable {
  readonly #api: Api
  readonly #image: string
  readonly #args: readonly string[]

  /** @param image present */
  constructor(docker: Docker, image: string, args: readonly string[]) {
    this.#api = new Api(docker)
    this.#image = image
    this.#args = args
  }

  /** Returns when the process has been started. */
  async start(id: string): Promise<void> {
    const made = { Image: this.#image, Cmd: this.#args, HostConfig: { NetworkMode: 'none' } }
    await this.#expect(201, 'POST', `${API}/create?name=${id}`, made)
    await this.#expect(204, 'POST', `${API}/${id}/start`)
  }

  remove(id: string): Promise<void> {
    return this.#expect(204, 'DELETE', `${API}/${id}?force=1`)
  }

  [Symbol.dispose](): void {
    this.#api[Symbol.dispose]()
  }

  async #expect(wanted: number, method: string, path: string, body?: unknown): Promise<void> {
    const [status, text] = await this.#api.ask(method, path, body)
    if (status !== wanted) throw new Error(`${method} ${path}: ${status} ${text}`)
  }
}
