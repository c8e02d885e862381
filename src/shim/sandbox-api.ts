import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { errorCodeOf } from '../model/errors.ts'
import { anyOptions } from './any-messages.ts'
import { Sandbox } from './gen/sandbox_pb.ts'
import type { CallOptions, TaskClient } from './task-client.ts'
import { readableTaskError } from './task-error.ts'
import type { AnyMessage } from './task-stats.ts'
import { formatTimestamp } from './timestamps.ts'

/** How long a shim has for calls that run nothing, at most. */
const QUICK_MS = 10_000

/** What a shim says of its sandbox. */
export interface SandboxStatus {
  /** Of the sandbox's own process; 0 where it has none, or does not run. */
  pid: number
  /** The shim's own word, such as `SANDBOX_READY`. */
  state: string
  info: Readonly<Record<string, string>>
  /** RFC 3339 with nanoseconds. */
  exitedAt: string | undefined
}

export interface SandboxExit {
  exitCode: number
  /** RFC 3339 with nanoseconds; undefined when the shim does not tell, as one that knows of no end. */
  exitedAt: string | undefined
}

/** Of the machine in which containers of a sandbox run, in the image spec's words. */
export interface SandboxPlatform {
  os: string
  architecture: string
  variant: string
}

/**
 * The sandbox that a shim keeps by itself: a virtual machine, or whatever its containers run in.
 *
 * @see containerd, api/runtime/sandbox/v1/sandbox.proto
 */
export class SandboxApi {
  readonly #client: TaskClient
  /** Each of its requests names the sandbox. */
  readonly #named: { sandboxId: string }
  readonly #callMs: number

  /** @param callMs milliseconds for a call that runs something */
  constructor(client: TaskClient, sandboxId: string, callMs: number) {
    this.#client = client
    this.#named = { sandboxId }
    this.#callMs = callMs
  }

  /** @throws PurserError unimplemented when the shim has no sandboxes */
  async create(
    request: {
      bundle: string
      netns: string | undefined
      options: AnyMessage | undefined
      annotations: Readonly<Record<string, string>>
    },
    signal: AbortSignal,
  ): Promise<void> {
    const { bundle, netns = '', options, annotations } = request
    const given = options === undefined ? {} : { options: anyOptions(options) }
    const asked = { bundlePath: bundle, netnsPath: netns, annotations: { ...annotations }, ...given }
    await this.#call(Sandbox.method.createSandbox, { ...this.#named, ...asked }, signal)
  }

  /** @returns the pid of the sandbox's own process, 0 where it has none */
  async start(signal: AbortSignal): Promise<{ pid: number }> {
    const { pid } = await this.#call(Sandbox.method.startSandbox, this.#named, signal)
    return { pid }
  }

  async platform(signal: AbortSignal): Promise<SandboxPlatform | undefined> {
    const { platform } = await this.#quick(Sandbox.method.platform, this.#named, signal)
    return platform && { os: platform.os, architecture: platform.architecture, variant: platform.variant }
  }

  /** @param timeoutMs that it has to end by itself, in whole seconds for the shim */
  async stop(timeoutMs: number, signal: AbortSignal): Promise<void> {
    await this.#call(Sandbox.method.stopSandbox, { ...this.#named, timeoutSecs: Math.ceil(timeoutMs / 1000) }, signal)
  }

  /** Waits for its end, and answers at once for one that has ended. */
  async wait(signal: AbortSignal): Promise<SandboxExit> {
    const { exitStatus, exitedAt } = await this.#within(Sandbox.method.waitSandbox, this.#named, { signal })
    return { exitCode: exitStatus, exitedAt: formatTimestamp(exitedAt) }
  }

  async status(signal: AbortSignal): Promise<SandboxStatus> {
    const found = await this.#quick(Sandbox.method.sandboxStatus, { ...this.#named, verbose: true }, signal)
    return { pid: found.pid, state: found.state, info: found.info, exitedAt: formatTimestamp(found.exitedAt) }
  }

  async ping(signal: AbortSignal): Promise<void> {
    await this.#quick(Sandbox.method.pingSandbox, this.#named, signal)
  }

  /** @returns undefined for a shim that tells none */
  async metrics(signal: AbortSignal): Promise<AnyMessage | undefined> {
    const { metrics } = await this.#quick(Sandbox.method.sandboxMetrics, this.#named, signal)
    return metrics?.data
  }

  /** Has the shim end, with all that it keeps. One that is gone before it has answered has done so. */
  async shutdown(signal: AbortSignal): Promise<void> {
    await this.#quick(Sandbox.method.shutdownSandbox, this.#named, signal).catch((error: unknown) => {
      if (errorCodeOf(error) !== 'unavailable') throw error
    })
  }

  async #within<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    try {
      return await this.#client.call(Sandbox.typeName, method, request, options)
    } catch (thrown) {
      options.signal.throwIfAborted()
      throw readableTaskError(`sandbox ${this.#named.sandboxId}`, thrown)
    }
  }

  #call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    return this.#within(method, request, { signal, timeoutMs: this.#callMs })
  }

  #quick<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    return this.#within(method, request, { signal, timeoutMs: Math.min(QUICK_MS, this.#callMs) })
  }
}
