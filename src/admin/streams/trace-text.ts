import type { Paint } from '../stream-command.ts'
import type { TracedItem } from './trace-item.ts'

type Step = TracedItem['steps'][number]

const COLUMN = 58

/** One block: the stanza, its steps as a tree, its fate. */
export function traceText(item: TracedItem, paint: Paint): string {
  return [heading(item, paint), ...contents(item, paint), ...tree(item, paint), ...end(item, paint)]
    .filter((line) => line !== '')
    .join('\n')
}

function heading(
  { began_at, is_continued, stanza, trace, span, parent, node }: TracedItem,
  paint: Paint,
) {
  const { kind, type, id, from, to, origin } = stanza
  const what = [kind, type, id === null ? null : `"${id}"`]
    .filter((part) => part !== null)
    .join(' ')
  const story = `${trace.slice(0, 8)}/${span.slice(0, 4)}`
  const cause = parent === null ? origin : `caused by ${parent.slice(0, 4)}`
  const about = [story, is_continued ? 'continued' : cause, ...(node === null ? [] : [node])]
  const way = paint('bold', shown(`${what}  ${from} → ${to}`))
  return `${began_at.slice(11, 23)}  ${way}  ${paint('dim', shown(about.join(', ')))}`
}

function contents({ stanza, is_continued }: TracedItem, paint: Paint): string[] {
  if (is_continued) return []
  const { children, size, xml } = stanza
  const lines = [`${children.join(', ') || 'empty'}; ${size} octets`, ...(xml ? [xml] : [])]
  return lines.map((line) => `  ${paint('dim', shown(line))}`)
}

function tree({ steps, stanza }: TracedItem, paint: Paint): string[] {
  const above = new Map<number, { readonly depth: number; readonly session: string | null }>()
  return steps.map((step) => {
    const outer = step.within === null ? undefined : above.get(step.within)
    const depth = outer === undefined ? 0 : outer.depth + 1
    const known = outer?.session ?? stanza.from
    above.set(step.number, { depth, session: step.session ?? known })
    // Where it happens is said once.
    return line(step.session === known ? { ...step, session: null } : step, depth, paint)
  })
}

function line({ place, by, session, took_ms, verdict, detail }: Step, depth: number, paint: Paint) {
  const name = [place, by, session].filter((part) => part !== null).join(' ')
  const start = shown(`${'  '.repeat(depth + 1)}${name}`).padEnd(COLUMN)
  const told = shown(toldAs(verdict, detail))
  const colour = COLOURS[verdict]
  const result = colour === undefined ? told : paint(colour, told)
  return `${start}  ${paint('dim', milliseconds(took_ms))}  ${result}`
}

function toldAs(verdict: string, detail: string | null): string {
  if (verdict === 'would') return `would ${detail}`
  if (verdict === 'unasked') {
    const what = detail === null ? 'run' : `ask ${detail}`
    return `would ${what}; what that does is not known`
  }
  return detail === null ? verdict : `${verdict}: ${detail}`
}

const COLOURS: Readonly<Record<string, Parameters<Paint>[0]>> = {
  passed: 'dim',
  refused: 'red',
  failed: 'red',
  dropped: 'red',
  gone: 'yellow',
  waiting: 'yellow',
  would: 'green',
  unasked: 'yellow',
  queued: 'yellow',
  written: 'green',
}

function end({ outcome, took_ms, is_continued }: TracedItem, paint: Paint): string[] {
  if (outcome === null) {
    return is_continued ? [] : [`  ${paint('yellow', '→ not decided yet')}`]
  }
  const { fate, by, reason, sessions } = outcome
  const why = reason === null ? '' : `: ${reason}`
  const reached = sessions.length === 0 ? '' : ` to ${sessions.join(', ')}`
  const isLost = fate === 'bounced' || fate === 'dropped'
  const told = shown(`→ ${fate} by ${by}${why}${reached}`)
  return [`  ${paint(isLost ? 'red' : 'green', told)}  ${paint('dim', milliseconds(took_ms))}`]
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(3).padStart(8)} ms`
}

/** What strangers wrote must not steer a terminal. */
function shown(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '·')
}
