import { AsyncLocalStorage } from 'node:async_hooks'
import { type Entry, type Handler, type HookName, Hooks } from './hooks.ts'
import { silentLogger } from './log.ts'
import { after } from './maybe.ts'

/** What is told of a handler that was not run as it is. */
export type Remark = (verdict: 'would' | 'unasked', detail?: string) => void

/**
 * Asks handlers what they would do. Whatever is run in a dry run, on the copy of the hooks that it gets
 * or, by handlers that are run for being pure, on the hooks themselves, is asked by what handlers say of
 * themselves (`HandlerOptions.explain`); those that say nothing are not run. What goes on besides does
 * not notice.
 */
export class DryRun {
  readonly #hooks: Hooks
  readonly #remarks = new AsyncLocalStorage<Remark>()
  #count = 0

  constructor(hooks: Hooks) {
    this.#hooks = hooks
  }

  /** Handlers of hooks that are registered while `work` goes on are not in its copy. */
  async run<T>(work: (copy: Hooks) => Promise<T>, remark: Remark): Promise<T> {
    if (this.#count++ === 0)
      this.#hooks.askWith((entry) => this.#ask(entry, `${entry.by} at ${entry.hook}`))
    try {
      return await this.#remarks.run(remark, () => work(this.#copy()))
    } finally {
      if (--this.#count === 0) this.#hooks.askWith(undefined)
    }
  }

  #copy(): Hooks {
    const copy = new Hooks(silentLogger)
    copy.askWith((entry) => this.#ask(entry))
    for (const entry of this.#hooks.all) copy.on(entry.hook, entry.registered, entry as object)
    return copy
  }

  /** `name`: of one that is asked by another. */
  #ask<N extends HookName>({ registered, explain }: Entry<N>, name?: string): Handler<N> {
    return (acc, params) => {
      const remark = this.#remarks.getStore()
      if (remark === undefined || explain === 'pure') return registered(acc, params)
      if (explain === undefined) {
        remark('unasked', name)
        return acc
      }
      return after(explain(acc, params), ({ verdict, would }) => {
        if (would !== undefined) remark('would', would)
        return verdict
      })
    }
  }
}
