import { mkdirSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { faultsOf, generate } from './generator.ts'
import type { Plan } from './plan.ts'
import type { Run } from './report.ts'
import { registration, type Scenario } from './scenarios.ts'
import { Server, ServerError } from './server.ts'
import type { Setting, Target } from './targets/target.ts'

/** A target within a group of scenarios, over all rounds. */
export class Contestant {
  readonly target: Target
  readonly #plan: Plan
  readonly #directory: string
  readonly #scenarios: readonly Scenario[]
  readonly #setting: Setting
  readonly #accounts: number
  #isPrepared = false
  #server: Server | undefined
  /** The end of the log of the server that was stopped last. */
  #lastLog: string | undefined

  /** `scenarios` share the setting. */
  constructor(
    target: Target,
    scenarios: readonly [Scenario, ...Scenario[]],
    plan: Plan,
    directory: string,
  ) {
    const [{ setting }] = scenarios
    this.target = target
    this.#plan = plan
    this.#directory = directory
    this.#scenarios = scenarios
    this.#setting = setting
    this.#accounts = Math.max(...scenarios.map(({ accounts }) => accounts(plan.scale)))
    mkdirSync(directory)
  }

  async run(scenario: Scenario, round: number): Promise<Run> {
    const label = { round, scenario: scenario.name, target: this.target.name }
    try {
      const server = await this.#ready()
      server.resume()
      for (let i = 0; i < (scenario.warmUps ?? 0); i++) {
        await this.#generate(server, this.#optionsOf(scenario))
      }
      const figures = await this.#generate(server, this.#optionsOf(scenario))
      server.pause()
      const faults = faultsOf(figures)
      if (faults === undefined) return { ...label, figures }
      return { ...label, figures, error: faults, serverLog: server.lastWords }
    } catch (error) {
      const isDead = this.#server !== undefined && !this.#server.isAlive
      // The next scenario deserves a server in a known state.
      await this.stop()
      const message = error instanceof Error ? error.message : String(error)
      const serverLog = error instanceof ServerError ? error.lastWords : this.#lastLog
      return {
        ...label,
        error: isDead ? `the server ended: ${message}` : message,
        ...(serverLog && { serverLog }),
      }
    }
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
    this.#lastLog = this.#server?.lastWords
    this.#server = undefined
  }

  /** A fresh server that knows the accounts, but did not create them in this process. */
  async #ready(): Promise<Server> {
    if (!this.#isPrepared && this.target.protocol === 'xmpp') {
      const server = await this.#start()
      if (this.target.register) {
        await this.target.register({ directory: this.#directory }, this.#accounts)
      } else {
        await this.#generate(server, registration(this.#accounts))
      }
      for (const { prepare } of this.#scenarios) {
        if (prepare) await this.#generate(server, prepare(this.#plan.scale))
      }
      await this.stop()
    }
    this.#isPrepared = true
    return this.#server ?? (await this.#start())
  }

  async #start(): Promise<Server> {
    const pinned = this.#plan.isPinned ? { core: 0 } : {}
    this.#server = await Server.start(this.target, {
      setting: this.#setting,
      directory: this.#directory,
      ...pinned,
    })
    return this.#server
  }

  #optionsOf(scenario: Scenario): readonly string[] {
    const options = scenario.options(this.#plan.scale)
    if (this.target.protocol === 'raw') return ['--raw', ...options]
    const { variant, tls, scram } = this.#setting
    return [
      ...(variant === 'bare' ? [] : ['--sm', '--carbons']),
      ...(tls ? ['--tls'] : []),
      ...(scram ? ['--scram', '--keys', join(this.#directory, 'keys')] : []),
      ...options,
    ]
  }

  #generate(server: Server, options: readonly string[]) {
    const core = this.#plan.isPinned ? os.availableParallelism() - 1 : undefined
    const { port, componentPort, pids } = server
    return generate(options, { port, componentPort, pids, core })
  }
}
