/** What two nodes say to each other about stanzas that one hands to the other: entries of a link. */

/** A stanza: for a session, for a component, for the node itself. */
export const SESSION = 'D'
export const COMPONENT = 'C'
export const NODE = 'N'
/** Stanzas whose fate is settled; one of which it will not be. */
export const SETTLED = 'S'
export const FAILED = 'F'
/** Of a stanza that several have: a client has acknowledged it; it will not arrive there. */
export const ARRIVED = 'V'
export const RETURNED = 'R'
export const HAND_OFF_ENTRIES = SESSION + COMPONENT + NODE + SETTLED + FAILED + ARRIVED + RETURNED

/** What a stanza is known by that one run handed to another: those two, and its number between them. */
export type Handed = {
  readonly from: string
  readonly to: string
  readonly number: number
  readonly isShared: boolean
}

export function writeHanded({ from, to, number, isShared }: Handed): string {
  return `${from} ${to} ${number}${isShared ? ' shared' : ''}`
}

export function readHanded(handed: string): Handed {
  const [from = '', to = '', number, shared] = handed.split(' ')
  return { from, to, number: Number(number), isShared: shared !== undefined }
}

/** Ascending runs: `3-7,9`. */
export function writeNumbers(numbers: readonly number[]): string {
  let text = ''
  for (let i = 0; i < numbers.length; ) {
    const from = numbers[i] as number
    let to = from
    while (numbers[++i] === to + 1) to++
    text += `${text === '' ? '' : ','}${from}${to === from ? '' : `-${to}`}`
  }
  return text
}

export function* readNumbers(text: string): Generator<number> {
  for (const run of text.split(',')) {
    const [from, to = from] = run.split('-')
    for (let number = Number(from); number <= Number(to); number++) yield number
  }
}
