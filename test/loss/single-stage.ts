import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { canFill } from '../support/disk.ts'
import type { Fault } from './plan.ts'
import { configuration, createAccounts, ServerProcess } from './server-process.ts'
import { type Door, type Stage, type StageOptions, untilThere } from './stage.ts'

/** How long a lock is tried for, and how often, milliseconds. */
const LOCK_PATIENCE = 2_000
const LOCK_RETRY = 5

/** One server with SQLite. */
export class SingleStage implements Stage {
  readonly directory: string
  readonly figures = { kills: 0, terminations: 0, 'disk faults': 0 }
  readonly #options: StageOptions
  readonly #server: ServerProcess
  #isRestarting = false
  /** Ends the lock of the database. */
  #unlock: (() => void) | undefined

  private constructor(directory: string, options: StageOptions, server: ServerProcess) {
    this.directory = directory
    this.#options = options
    this.#server = server
  }

  static async create(options: StageOptions): Promise<SingleStage> {
    const { plan, ledger, main } = options
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-loss-'))
    const text = configuration(plan)
    const onDeath = (reason: string) => ledger.misbehave(reason)
    const server = await ServerProcess.create({ directory, configuration: text, main, onDeath })
    await createAccounts(directory, text, plan)
    return new SingleStage(directory, options, server)
  }

  async start(): Promise<void> {
    await this.#server.start()
  }

  door(): Door {
    const address = () => untilThere(() => this.#server.port)
    return { node: 0, address, move() {}, patience: 0, onForsaken() {} }
  }

  claim({ what }: Fault): boolean {
    if (what !== 'kill' && what !== 'terminate') return true
    if (this.#isRestarting) return false
    this.#isRestarting = true
    return true
  }

  async happen(fault: Fault): Promise<void> {
    switch (fault.what) {
      case 'kill':
      case 'terminate':
        return await this.#restart(fault.what, fault.away)
      case 'lock':
      case 'fill':
        return await this.#failDisk(fault.what, fault.lasting)
      default:
        throw new Error('one server alone has no such fault')
    }
  }

  async #restart(what: 'kill' | 'terminate', away: number): Promise<void> {
    const { ledger, note } = this.#options
    if (what === 'kill') {
      this.figures.kills++
      const killed = ledger.kill()
      await this.#server.end('SIGKILL')
      killed()
    } else {
      this.figures.terminations++
      await this.#server.end('SIGTERM')
    }
    note('the server is gone')
    await sleep(away)
    this.#unlock?.()
    await this.#server.start()
    note('the server is back')
    this.#isRestarting = false
  }

  async #failDisk(what: 'lock' | 'fill', lasting: number): Promise<void> {
    if (this.#isRestarting || (what === 'fill' && !canFill)) return
    const { ledger, note } = this.#options
    this.figures['disk faults']++
    const repaired = ledger.failDisk()
    const end = what === 'lock' ? await this.#lock() : this.#server.fill()
    if (end !== undefined) await sleep(lasting)
    end?.()
    repaired()
    note('the disk works')
  }

  /**
   * Another process holds the lock of the database. The returned function lets go; `undefined` if
   * somebody else has the lock.
   */
  async #lock(): Promise<(() => void) | undefined> {
    const database = new DatabaseSync(join(this.directory, 'data', 'meerkat.db'), { timeout: 0 })
    const end = () => {
      if (this.#unlock !== end) return
      this.#unlock = undefined
      database.close()
    }
    for (const until = Date.now() + LOCK_PATIENCE; ; ) {
      try {
        database.exec('begin immediate')
        this.#unlock = end
        return end
      } catch {
        if (Date.now() > until) break
        await sleep(LOCK_RETRY)
      }
    }
    database.close()
    return undefined
  }

  async disagreement(): Promise<undefined> {}

  async stop(): Promise<void> {
    await this.#server.end('SIGTERM')
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unlock?.()
    await this.#server[Symbol.asyncDispose]()
  }
}
