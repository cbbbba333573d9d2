import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Figures } from './client.ts'
import { ClusterStage } from './cluster-stage.ts'
import { type Breach, type Failure, Ledger, time } from './ledger.ts'
import type { Event, Fault, Happening, Plan } from './plan.ts'
import { Random } from './random.ts'
import { Recipient } from './recipient.ts'
import { Sender } from './sender.ts'
import { hasArchive } from './server-process.ts'
import { SingleStage } from './single-stage.ts'
import type { Stage } from './stage.ts'

/** How often time passes for the trial, milliseconds. */
const TICK = 10
/** What part of the pace is kept while something that is to happen has to wait. */
const WHILE_LATE = 0.2
/** Without any progress for so long, something is stuck, milliseconds. */
const PATIENCE = 30_000

export type Report = {
  readonly figures: Readonly<Record<string, number>>
  readonly breaches: ReadonlyMap<Breach, number>
  /** The first of them. */
  readonly failures: readonly Failure[]
  /** What happened, one line each. */
  readonly history: readonly string[]
  /** The server's files, kept after a failure. */
  readonly directory: string | undefined
}

export type TrialOptions = {
  readonly onProgress?: (ledger: Ledger) => void
  /** The server's program. */
  readonly main?: string | undefined
}

/** Runs a plan: a real server, real sockets, and a ledger of what was promised. */
export async function runTrial(plan: Plan, options: TrialOptions = {}): Promise<Report> {
  const trial = await Trial.create(plan, options)
  return await trial.run()
}

class Trial {
  readonly #plan: Plan
  readonly #options: TrialOptions
  readonly #startedAt = performance.now()
  readonly #ledger: Ledger
  readonly #figures: Figures = { cuts: 0, resumed: 0, sessions: 0 }
  readonly #random: Random
  readonly #history: string[] = []
  #stage: Stage
  #senders: readonly Sender[] = []
  #recipients: readonly Recipient[] = []
  /** Messages that may be sent by now. */
  #allowed = 0
  #next = 0
  /** Happenings that last. */
  readonly #lasting = new Set<Promise<void>>()
  /** The next has to wait for one of those. */
  #isLate = false

  private constructor(plan: Plan, options: TrialOptions) {
    this.#plan = plan
    this.#options = options
    const { messages, senders, recipients, seed } = plan
    this.#ledger = new Ledger(messages, senders, recipients, () => this.#now())
    this.#random = new Random(seed + 1)
    // Set by `create` before anybody can see it.
    this.#stage = undefined as unknown as Stage
  }

  static async create(plan: Plan, options: TrialOptions): Promise<Trial> {
    const trial = new Trial(plan, options)
    const { main } = options
    const note = (what: string) => trial.#note(what)
    const random = new Random(plan.seed + 2)
    const common = { plan, ledger: trial.#ledger, random, note, main }
    trial.#stage =
      plan.cluster === undefined
        ? await SingleStage.create(common)
        : await ClusterStage.create(common, plan.cluster)
    return trial
  }

  async run(): Promise<Report> {
    let isClean = false
    try {
      await using stage = this.#stage
      try {
        await stage.start()
        await this.#play()
        isClean = this.#ledger.failures.length === 0
      } finally {
        for (const client of this.#clients) client.stop()
      }
    } finally {
      if (isClean) await this.#stage.remove()
    }
    return this.#report(isClean)
  }

  get #clients(): readonly Client[] {
    return [...this.#senders, ...this.#recipients]
  }

  async #play(): Promise<void> {
    this.#makeClients()
    for (const recipient of this.#recipients) recipient.goOnline()
    await this.#until(() => this.#recipients.every(({ isOnline }) => isOnline))
    for (const sender of this.#senders) sender.goOnline()
    const { messages, happenings } = this.#plan
    const isOver = () =>
      this.#ledger.sent === messages && this.#next === happenings.length && this.#lasting.size === 0
    await this.#until(isOver)
    this.#note('all is sent, nothing happens any more')
    const isQuiet = () =>
      this.#clients.every(({ isOnline }) => isOnline) &&
      this.#senders.every(({ isDone }) => isDone) &&
      this.#ledger.owed === 0
    await this.#until(isQuiet)
    await this.#audit()
    this.#ledger.close(this.#hasArchive)
    await this.#stage.stop()
  }

  async #audit(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      await this.#inTime(this.#recipients.map((recipient) => recipient.roundTrip()))
    }
    const found = await this.#stage.disagreement(this.#clients.map(({ name }) => name))
    if (found !== undefined) this.#ledger.misbehave(found)
    if (this.#hasArchive) await this.#inTime(this.#recipients.map((each) => each.audit()))
  }

  get #hasArchive(): boolean {
    return hasArchive && this.#plan.archive
  }

  #makeClients(): void {
    const { senders, recipients, habits, window, seed } = this.#plan
    const ledger = this.#ledger
    const door = (index: number) => ({ door: this.#stage.door(index) })
    const common = {
      ledger,
      figures: this.#figures,
      complain: (text: string) => ledger.misbehave(`${text}, at ${time(this.#now())}`),
    }
    this.#senders = Array.from({ length: senders }, (_, index) => {
      const random = new Random(seed + 100 + index)
      const nextRecipient = () => {
        if (ledger.sent >= this.#allowed || ledger.sent >= this.#plan.messages) return undefined
        return random.whole(0, recipients - 1)
      }
      return new Sender({
        ...common,
        ...door(index),
        name: `s${index}`,
        index,
        random,
        window,
        nextRecipient,
      })
    })
    this.#recipients = Array.from({ length: recipients }, (_, index) => {
      const random = new Random(seed + 200 + index)
      const habit = habits[index] ?? 'asked'
      return new Recipient({
        ...common,
        ...door(senders + index),
        name: `r${index}`,
        index,
        random,
        habit,
      })
    })
  }

  /** Lets time pass until then; ends the trial when nothing goes on any more. */
  async #until(isTrue: () => boolean): Promise<void> {
    let last = ''
    let quietSince = this.#now()
    let before = this.#now()
    while (!isTrue()) {
      await sleep(TICK)
      const now = this.#now()
      this.#pass(now - before)
      before = now
      const { sent, acknowledged, shown, repeated } = this.#ledger
      const state = `${sent} ${acknowledged} ${shown} ${repeated} ${this.#next}`
      if (state !== last) quietSince = now
      else if (now - quietSince > PATIENCE) return this.#stuck()
      last = state
    }
  }

  #pass(milliseconds: number): void {
    const { pace, messages, happenings } = this.#plan
    const isSending = this.#senders.some(({ isOnline }) => isOnline)
    if (pace === 0) this.#allowed = messages
    else if (isSending) {
      // Nothing is saved up while all have to wait.
      const most = this.#ledger.sent + pace / 2 + 1
      const share = this.#isLate ? WHILE_LATE : 1
      this.#allowed = Math.min(this.#allowed + (milliseconds * pace * share) / 1000, most)
    }
    for (const sender of this.#senders) sender.pump()
    while (this.#next < happenings.length) {
      const happening = happenings[this.#next] as Happening
      if (happening.at > this.#ledger.sent) break
      this.#isLate = !isEvent(happening) && !this.#stage.claim(happening)
      if (this.#isLate) break
      this.#next++
      const over = this.#happen(happening)
        .catch((error) => this.#ledger.misbehave(`${happening.what}: ${error}`))
        .finally(() => this.#lasting.delete(over))
      this.#lasting.add(over)
    }
    this.#options.onProgress?.(this.#ledger)
  }

  async #happen(happening: Happening): Promise<void> {
    // At any moment of what the server is doing.
    await sleep(this.#random.whole(0, TICK))
    this.#note(describe(happening, this.#plan.senders))
    if (!isEvent(happening)) return await this.#stage.happen(happening)
    const client = this.#clients[happening.who] as Client
    switch (happening.what) {
      case 'cut':
        return client.cut(happening.how, happening.away)
      case 'takeover':
        return client.connectAnew(false)
      case 'replace':
        return client.connectAnew(true)
      case 'leave':
        return client.leave(happening.away)
      case 'offend':
        return client.offend(happening.away)
      case 'stall':
        return client.stall(happening.lasting)
      case 'resume at':
      case 'replace at':
        client.door.move(happening.node)
        return client.connectAnew(happening.what === 'replace at')
    }
  }

  async #inTime(work: readonly Promise<void>[]): Promise<void> {
    const end = new AbortController()
    const late = sleep(10 * PATIENCE, true, { signal: end.signal, ref: false }).catch(() => false)
    if (await Promise.race([Promise.all(work).then(() => false), late])) this.#stuck()
    end.abort()
  }

  #stuck(): void {
    const offline = this.#clients.filter(({ isOnline }) => !isOnline).map(({ name }) => name)
    const busy = this.#senders.filter(({ isDone }) => !isDone).map(({ name }) => name)
    const { owed } = this.#ledger
    const list = (names: readonly string[]) => names.join(' ') || 'nobody'
    this.#note('nothing goes on any more')
    if (offline.length === 0 && busy.length === 0) return
    this.#ledger.misbehave(
      `stuck: offline ${list(offline)}; without acknowledgement ${list(busy)}; ${owed} not shown`,
    )
  }

  #now(): number {
    return performance.now() - this.#startedAt
  }

  #note(what: string): void {
    const { sent } = this.#ledger
    this.#history.push(`${time(this.#now()).padStart(9)}  ${String(sent).padStart(7)}  ${what}`)
  }

  #report(isClean: boolean): Report {
    const ledger = this.#ledger
    return {
      figures: {
        messages: ledger.sent,
        transmissions: ledger.transmissions,
        acknowledged: ledger.acknowledged,
        shown: ledger.shown,
        archived: ledger.archived,
        bounced: ledger.bounced,
        ambiguous: ledger.ambiguous,
        retried: ledger.retried,
        late: ledger.late,
        repeated: ledger.repeated,
        unprotected: ledger.unprotected,
        ...this.#stage.figures,
        ...this.#figures,
        seconds: Math.round(this.#now() / 1000),
      },
      breaches: ledger.breaches,
      failures: ledger.failures,
      history: this.#history,
      directory: isClean ? undefined : this.#stage.directory,
    }
  }
}

function isEvent(happening: Fault | Event): happening is Event {
  return 'who' in happening
}

export function describe(happening: Happening, senders: number): string {
  const { at: _, what, ...rest } = happening
  const details = Object.entries(rest).map(([key, value]) => {
    if (key === 'who') return Number(value) < senders ? `s${value}` : `r${Number(value) - senders}`
    if (key === 'node') return `${what === 'kill nats' ? 'server' : 'n'}${value}`
    return typeof value === 'number' ? `${key} ${value} ms` : value
  })
  return [what, ...details].join(', ')
}
