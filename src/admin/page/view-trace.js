import { el, NO_PROSE, say } from './dom.js'
import { count, time } from './format.js'
import { stayOn } from './live.js'

/** Stanzas that are kept on the page. */
const LIMIT = 200
/** Steps further in than this are set in no more. */
const MAX_DEPTH = 10

export const trace = {
  id: 'trace',
  title: 'Trace',
  needs: ['trace'],
  mount(root, { self, signal }) {
    const list = el('ol.trace', { 'aria-label': 'Stanzas, newest first', reversed: true })
    const known = new Map()
    let following = new AbortController()
    let seen = 0

    const jid = el('input', {
      name: 'jid',
      required: true,
      ...NO_PROSE,
      inputmode: 'email',
    })
    const body = el('input', { type: 'checkbox', name: 'body' })
    const start = el('button.solid', { type: 'submit' }, 'Follow')
    const stop = el(
      'button',
      { type: 'button', disabled: true, onclick: () => end('Stopped.') },
      'Stop',
    )
    const clear = el('button', { type: 'button', onclick: forget }, 'Clear')
    const state = el('p.note', { role: 'status' }, 'Each step of each stanza, as it happens.')
    const form = el(
      'form.bar',
      { onsubmit: begin },
      el('label', {}, 'Account, resource or domain', jid),
      self.content ? el('label.check', {}, body, 'Show what is in messages') : undefined,
      el('div.buttons', {}, start, stop, clear),
    )
    const none = el('p.none', { hidden: true }, 'Nothing yet.')
    root.append(form, state, none, list)
    signal.addEventListener('abort', () => following.abort(), { once: true })

    function begin(event) {
      event.preventDefault()
      following.abort()
      following = new AbortController()
      forget()
      stop.disabled = false
      const address = jid.value.trim()
      // Until the server follows it, nothing of it is seen.
      say(state, `Beginning to follow ${address} …`)
      const { signal: current } = following
      const onState = (now) => {
        if (now === 'live') return say(state, `Following ${address}.`)
        if (now === 'lost') return say(state, 'Connection lost; trying again …')
        end(now)
      }
      const wanted = { jid: address, ...(body.checked && { body: true }) }
      void stayOn('trace', wanted, { signal: current, onItem: show, onState })
    }

    function end(why) {
      following.abort()
      stop.disabled = true
      say(state, why)
    }

    function forget() {
      seen = 0
      known.clear()
      list.replaceChildren()
      none.hidden = false
    }

    function show(item) {
      none.hidden = true
      if ('missed' in item) {
        list.prepend(
          el('li.missed', {}, `${count(item.missed)} more came faster than they could be shown.`),
        )
        return
      }
      const name = `${item.span} ${item.node}`
      const earlier = item.is_continued ? known.get(name) : undefined
      if (earlier !== undefined) return earlier.more(item)
      const entry = makeEntry(item, ++seen)
      known.set(name, entry)
      list.prepend(entry.root)
      while (list.children.length > LIMIT) {
        const oldest = list.lastElementChild
        known.delete(oldest.getAttribute('data-key'))
        oldest.remove()
      }
      entry.root.setAttribute('data-key', name)
    }
  },
}

const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
})

function makeEntry(item, number) {
  const { stanza, began_at, node, parent, outcome } = item
  const what = [stanza.kind, stanza.type].filter((part) => part !== null).join(' ')
  const fate = el('span.badge')
  const took = el('span.time')
  const heads = ['th', 'th.number', 'th'].map((tag, i) =>
    el(tag, { scope: 'col', role: 'columnheader' }, ['Step', 'Took', 'Verdict'][i]),
  )
  const steps = el('tbody', { role: 'rowgroup' })
  const at = clock.format(new Date(began_at))
  const about = [
    `${stanza.children.join(', ') || 'empty'}; ${count(stanza.size)} octets`,
    parent === null ? `from ${stanza.origin}` : `caused by stanza ${parent.slice(0, 4)}`,
    ...(stanza.id === null ? [] : [`id ${stanza.id}`]),
    ...(node === null ? [] : [`node ${node}`]),
    `trace ${item.trace.slice(0, 8)}/${item.span.slice(0, 4)}`,
  ]
  const why = el('p.why')
  const root = el(
    'li.card',
    {},
    el(
      'details',
      {},
      el(
        'summary',
        {},
        el('time', { datetime: began_at }, at),
        el('span.what', {}, what),
        el('span.way', {}, `${stanza.from} → ${stanza.to}`),
        fate,
        took,
      ),
      why,
      el('p.note', {}, about.join(' · ')),
      stanza.xml === undefined
        ? undefined
        : el('pre', { tabindex: '0', 'aria-label': 'What is in it' }, stanza.xml),
      el(
        'div.scroll',
        { tabindex: '0', role: 'region', 'aria-label': `Steps of stanza ${number}` },
        el(
          'table.steps',
          { role: 'table' },
          el('caption.hidden', {}, 'Steps'),
          el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...heads)),
          steps,
        ),
      ),
    ),
  )
  const above = new Map()
  const more = (next) => {
    for (const step of next.steps) {
      const outer = above.get(step.within) ?? { depth: -1, session: stanza.from }
      const session = step.session ?? outer.session
      above.set(step.number, { depth: outer.depth + 1, session })
      // Where it happens is said once.
      const isNew = session !== outer.session
      steps.append(stepLine(step, outer.depth + 1, isNew ? session : null))
    }
    if (next.outcome !== null) decide(next.outcome, next.took_ms)
  }
  const decide = ({ fate: end, by, reason, sessions }, ms) => {
    say(fate, `${end} by ${by}`)
    fate.setAttribute('data-kind', end)
    say(took, time(ms))
    const to = sessions.length === 0 ? '' : ` to ${sessions.join(', ')}`
    say(why, `${end} by ${by}${reason === null ? '' : `: ${reason}`}${to}`)
  }
  if (outcome === null) {
    say(fate, 'not decided yet')
    fate.setAttribute('data-kind', 'waiting')
  }
  more(item)
  return { root, more }
}

function stepLine({ place, by, took_ms, verdict, detail }, depth, session) {
  const whose = [by, session].filter((part) => part !== null).join(' ')
  const cell = (attributes, ...children) => el('td', { role: 'cell', ...attributes }, ...children)
  const where = cell({}, el('span.place', {}, place), ` ${whose}`)
  where.style.setProperty('--depth', Math.min(MAX_DEPTH, depth))
  return el(
    'tr',
    { role: 'row' },
    where,
    cell({ class: 'number' }, time(took_ms)),
    cell({ 'data-kind': verdict }, detail === null ? verdict : `${verdict}: ${detail}`),
  )
}
