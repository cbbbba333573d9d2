import type { Clock } from '../../src/cluster/transport.ts'

type Event = {
  readonly at: number
  readonly order: number
  readonly process: Process | undefined
  readonly work: () => void
}

/** The wall clocks of simulated nodes begin here, milliseconds since 1970. */
const EPOCH = Date.UTC(2026, 7, 1, 12)

/**
 * Simulated time: events happen one after the other, each with all that follows from it within a turn
 * of the event loop, and take no time themselves.
 */
export class Scheduler {
  /** Milliseconds. */
  now = 0
  readonly #heap: Event[] = []
  #last = 0

  at(time: number, work: () => void, process?: Process): void {
    this.#push({ at: Math.max(time, this.now), order: ++this.#last, process, work })
  }

  in(ms: number, work: () => void, process?: Process): void {
    this.at(this.now + ms, work, process)
  }

  /** Lets all happen up to a time. */
  async run(until: number): Promise<void> {
    while (this.now < until) {
      await new Promise<void>((resolve, reject) => {
        setImmediate(() => {
          try {
            this.#run(until)
            resolve()
          } catch (error) {
            reject(error)
          }
        })
      })
    }
  }

  #run(until: number): void {
    while (this.#heap.length > 0 && (this.#heap[0] as Event).at <= until) {
      const event = this.#pop()
      const { process } = event
      this.now = event.at
      if (process?.isDead === true) continue
      if (process?.isPaused === true) {
        process.deferred.push(event.work)
        continue
      }
      event.work()
      // Without it a turn of the real event loop is needed for each event, which takes longer.
      if (endTurn === undefined) return
      endTurn()
    }
    this.now = until
  }

  #push(event: Event): void {
    const heap = this.#heap
    let index = heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(event, heap[parent] as Event)) break
      heap[index] = heap[parent] as Event
      index = parent
    }
    heap[index] = event
  }

  #pop(): Event {
    const heap = this.#heap
    const first = heap[0] as Event
    const last = heap.pop() as Event
    if (heap.length === 0) return first
    let index = 0
    while (true) {
      let child = index * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) {
        child++
      }
      if (!isBefore(heap[child] as Event, last)) break
      heap[index] = heap[child] as Event
      index = child
    }
    heap[index] = last
    return first
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Does the rest of a turn of the event loop: whatever follows from promises that are kept by now. */
const endTurn = (process as { _tickCallback?: () => void })._tickCallback?.bind(process)

/** One start of a node's program. What it would do while it is paused it does when it goes on. */
export class Process {
  readonly scheduler: Scheduler
  isDead = false
  isPaused = false
  deferred: (() => void)[] = []
  readonly clock: Clock

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler
    this.clock = {
      now: () => scheduler.now,
      wallTime: () => EPOCH + Math.floor(scheduler.now),
      after: (ms, work) => {
        let isOff = false
        this.in(ms, () => {
          if (!isOff) work()
        })
        return () => {
          isOff = true
        }
      },
      soon: (work) => this.in(0, work),
    }
  }

  in(ms: number, work: () => void): void {
    this.scheduler.in(ms, work, this)
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    const { deferred } = this
    this.deferred = []
    for (const work of deferred) this.in(0, work)
  }
}
