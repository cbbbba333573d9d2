import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { within } from './inbox.ts'
import type { TestServer } from './server.ts'

/** After so long without what a test waits for, it fails. */
const PATIENCE_SECONDS = 20

/** A component that others wrote, in a process of its own. */
export class ComponentProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  /** All that it wrote. */
  #output = ''

  private constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream === null) continue
      createInterface(stream).on('line', (line) => {
        this.#output += `${line}\n`
      })
    }
  }

  /** Starts it; resolves when `server` has it. */
  static async connect(
    server: TestServer,
    program: string,
    args: readonly string[],
  ): Promise<ComponentProcess> {
    const connected = Promise.withResolvers<void>()
    const forget = server.server.hooks.on('component_connected', (component) => {
      connected.resolve()
      return component
    })
    const started = new ComponentProcess(program, args)
    const ended = once(started.#child, 'close').then(() => {
      throw new Error(`${program} ended:\n${started.#output}`)
    })
    ended.catch(() => {})
    try {
      await within(PATIENCE_SECONDS, Promise.race([connected.promise, ended]), 'not connected')
      return started
    } catch (error) {
      await started[Symbol.asyncDispose]()
      throw error
    } finally {
      forget()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }
}
