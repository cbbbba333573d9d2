/** Undefined: for the account. */
export type Address = { readonly account: string; readonly resource: string | undefined }

export type Message = { readonly id: string; readonly from: string; readonly to: Address }

/** One message in the hands of several devices: it has arrived as soon as one acknowledges it. */
type Sharing = { holders: number; hasArrived: boolean }

/** What a device was sent, or will be sent when it comes back. */
type Entry = { readonly message: Message; readonly sharing: Sharing; readonly isStored: boolean }

/** A resource of an account, and its session while there is one. */
export class Device {
  readonly account: string
  readonly resource: string
  state: 'gone' | 'connected' | 'detached' = 'gone'
  priority: number | undefined
  /** Ids of the messages that it has acknowledged in this session. */
  acknowledged: string[] = []
  queue: Entry[] = []

  constructor(account: string, resource: string) {
    this.account = account
    this.resource = resource
  }

  get name(): string {
    return `${this.account}/${this.resource}`
  }

  get hasSession(): boolean {
    return this.state !== 'gone'
  }

  /** Whether messages to the account may go there. */
  get mayReceive(): boolean {
    return this.hasSession && (this.priority ?? -1) >= 0
  }

  /** All that it has been shown in this session, as far as the server can know. */
  get shown(): string[] {
    return [...this.acknowledged, ...this.queue.map(({ message }) => message.id)]
  }
}

/**
 * What is to become of messages between clients that use stream management: the simplest program that
 * says it. There is no time in it, no storage and no connection.
 */
export class Reference {
  readonly devices: readonly Device[]
  /** What waits for an account, oldest first; also what is in a device's hands and not acknowledged. */
  readonly #stored = new Map<string, Message[]>()
  /** All messages, in the order of sending. */
  readonly sent: Message[] = []
  /** Devices as their sessions began. */
  #order: Device[] = []

  constructor(devices: readonly Device[]) {
    this.devices = devices
  }

  // --- Devices come and go.

  connect(device: Device, priority: number | undefined): void {
    if (device.hasSession) this.end(device)
    device.state = 'connected'
    device.acknowledged = []
    this.#order.push(device)
    this.setPriority(device, priority)
  }

  setPriority(device: Device, priority: number | undefined): void {
    const couldReceive = device.mayReceive
    device.priority = priority
    if (device.mayReceive && !couldReceive) this.#handOver(device)
  }

  detach(device: Device): void {
    device.state = 'detached'
  }

  /** The client has got all but the last `lost` of what it was sent. */
  resume(device: Device, lost: number): void {
    this.acknowledge(device, device.queue.length - lost)
    device.state = 'connected'
  }

  end(device: Device): void {
    const { account, queue } = device
    device.state = 'gone'
    device.priority = undefined
    device.queue = []
    device.acknowledged = []
    this.#order = this.#order.filter((other) => other !== device)
    const next = this.#mostAvailable(account)[0]
    if (next !== undefined) this.#handOver(next)
    for (const { message, sharing, isStored } of queue) {
      if (isStored) continue
      sharing.holders--
      if (sharing.holders === 0 && !sharing.hasArrived) this.#deliver(message, true)
    }
  }

  /** Sessions as they are listed after a restart, of one account after the other. */
  restart(order: readonly Device[]): void {
    for (const device of order) device.state = 'detached'
    this.#order = [...order]
  }

  // --- Messages.

  send(message: Message): void {
    this.sent.push(message)
    this.#deliver(message, false)
  }

  acknowledge(device: Device, count: number): void {
    for (const { message, sharing, isStored } of device.queue.splice(0, count)) {
      device.acknowledged.push(message.id)
      sharing.hasArrived = true
      if (isStored) this.#remove(device.account, message)
    }
  }

  /** What waits and is in nobody's hands. */
  waiting(account: string): Message[] {
    const inHands = new Set(
      this.#of(account).flatMap(({ queue }) =>
        queue.filter(({ isStored }) => isStored).map(({ message }) => message),
      ),
    )
    return (this.#stored.get(account) ?? []).filter((message) => !inHands.has(message))
  }

  #deliver(message: Message, isRetry: boolean): void {
    const { account, resource } = message.to
    const addressed = this.#of(account).find((device) => device.resource === resource)
    const isThere = addressed !== undefined && !(isRetry && addressed.priority === undefined)
    const targets = isThere ? [addressed] : this.#mostAvailable(account)
    const sharing = { holders: targets.length, hasArrived: false }
    for (const { queue } of targets) queue.push({ message, sharing, isStored: false })
    if (targets.length > 0) return
    const stored = this.#stored.get(account) ?? []
    this.#stored.set(account, [...stored, message])
  }

  #handOver({ account, queue }: Device): void {
    for (const message of this.waiting(account)) {
      queue.push({ message, sharing: { holders: 1, hasArrived: false }, isStored: true })
    }
  }

  #remove(account: string, message: Message): void {
    const left = (this.#stored.get(account) ?? []).filter((other) => other !== message)
    this.#stored.set(account, left)
  }

  #mostAvailable(account: string): Device[] {
    const able = this.#of(account).filter(({ mayReceive }) => mayReceive)
    const highest = Math.max(...able.map(({ priority = -1 }) => priority))
    return able.filter(({ priority }) => priority === highest)
  }

  #of(account: string): Device[] {
    return this.#order.filter((device) => device.account === account)
  }
}
