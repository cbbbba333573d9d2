/** The page: who looks at it, and which view. */
import { onUnauthorized, token, tokenAnswer } from './api.js'
import { el, keep, NO_PROSE } from './dom.js'
import { accounts } from './view-accounts.js'
import { connections } from './view-connections.js'
import { modules } from './view-modules.js'
import { route } from './view-route.js'
import { sessions } from './view-sessions.js'
import { trace } from './view-trace.js'

const views = [route, trace, sessions, connections, accounts, modules]

const main = document.querySelector('main')
const top = document.querySelector('header.top')
const said = document.querySelector('.said')

/** What the token is good for; `undefined`: nobody is logged in. */
let self
/** Aborted when another view is shown. */
let shown = new AbortController()
let fades

/** Tells what was done; read out, too. */
function tell(text) {
  said.textContent = text
  clearTimeout(fades)
  fades = setTimeout(() => {
    said.textContent = ''
  }, 6_000)
}

function leave() {
  shown.abort()
  shown = new AbortController()
  for (const dialog of document.querySelectorAll('dialog')) dialog.close()
}

function logOut(why = '') {
  token.forget()
  self = undefined
  leave()
  tell('')
  top.hidden = true
  showLogin(why)
}

function showLogin(why = '') {
  document.title = 'Log in – Meerkat'
  const problem = el('p.problem', { role: 'alert' })
  const input = el('input', {
    type: 'password',
    name: 'token',
    required: true,
    ...NO_PROSE,
    'aria-describedby': 'how',
  })
  const button = el('button.solid', { type: 'submit' }, 'Log in')
  const submit = async (event) => {
    event.preventDefault()
    const text = input.value.trim()
    button.disabled = true
    problem.textContent = ''
    try {
      await logIn(text)
    } catch (error) {
      problem.textContent = error.status === 401 ? 'This token is not good.' : error.message
      input.select()
      button.disabled = false
    }
  }
  const form = el(
    'form.login.card',
    { onsubmit: submit },
    el('h1', {}, 'Meerkat'),
    el('label', {}, 'Token', input),
    el(
      'p.note',
      { id: 'how' },
      'An operator makes one with ',
      el('code', {}, 'meerkat token create'),
      '.',
    ),
    problem,
    button,
  )
  main.replaceChildren(form)
  problem.textContent = why
  input.focus()
}

/** Throws Refused. */
async function logIn(text) {
  self = await tokenAnswer(text)
  token.keep(text)
  const whose = self.domains === null ? 'all domains' : self.domains.join(', ')
  top.querySelector('.who').textContent = `${self.role}, ${whose}`
  top.hidden = false
  show()
}

function show() {
  if (self === undefined) return
  const may = (command) => self.commands.includes(command)
  const allowed = views.filter(({ needs }) => needs.some(may))
  const wanted = location.hash.slice(1)
  const view = allowed.find(({ id }) => id === wanted) ?? allowed[0]
  leave()
  const links = top.querySelector('nav ul')
  keep(links, allowed, {
    key: ({ id }) => id,
    make: ({ id, title }) => el('li', {}, el('a', { href: `#${id}` }, title)),
    update: ({ firstElementChild: link }, { id }) => {
      if (id === view?.id) link.setAttribute('aria-current', 'page')
      else link.removeAttribute('aria-current')
    },
  })
  if (view === undefined) {
    main.replaceChildren(el('p', {}, 'This token is good for nothing here.'))
    return
  }
  document.title = `${view.title} – Meerkat`
  const heading = el('h1', { tabindex: '-1' }, view.title)
  const body = el('div.view')
  main.replaceChildren(heading, body)
  view.mount(body, { self, may, tell, signal: shown.signal })
  heading.focus()
}

document.querySelector('.skip').addEventListener('click', (event) => {
  // The hash names the view.
  event.preventDefault()
  main.focus()
})
top.querySelector('.logout').addEventListener('click', () => logOut())
addEventListener('hashchange', show)
onUnauthorized(() => logOut('The token is not good any more.'))

const kept = token.get()
if (kept === null) showLogin()
else {
  logIn(kept).catch((error) => {
    if (error.status === 401) logOut('The token is not good any more.')
    else showLogin(error.message)
  })
}
