// What the pages do beyond plain links and forms. Every journey works without.

// An error summary takes the focus, so that it is read out first.
const problems = document.querySelector('.nhsuk-error-summary')
if (problems) {
  problems.setAttribute('tabindex', '-1')
  problems.focus()
}

const INTERVAL = 10_000
const live = document.querySelector('[data-app-live]')

// The live page fetches itself again until somebody pauses it. What a reader
// opened stays open, and nothing is replaced while something in it has the
// focus. When an update fails the figures are marked as old.
if (live) {
  const status = document.createElement('p')
  status.className = 'nhsuk-body-s'
  status.setAttribute('role', 'status')

  const pause = document.createElement('button')
  pause.className = 'nhsuk-button nhsuk-button--secondary nhsuk-button--small'
  pause.type = 'button'

  const controls = document.createElement('div')
  controls.className = 'app-live-controls'
  controls.append(pause, status)
  live.before(controls)

  let paused = window.matchMedia('(prefers-reduced-motion: reduce)').matches
  const say = () => {
    pause.textContent = paused ? 'Update by itself' : 'Pause updates'
    status.textContent = paused ? 'Updates are paused.' : 'Updates every 10 seconds.'
  }
  pause.addEventListener('click', () => {
    paused = !paused
    say()
    if (!paused) update()
  })
  say()

  const update = async () => {
    if (paused || document.hidden || live.contains(document.activeElement)) return
    try {
      const answer = await fetch(live.dataset.appLive, { credentials: 'same-origin', redirect: 'error' })
      if (!answer.ok) throw new Error(String(answer.status))
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
      const fresh = page.querySelector('[data-app-live]')
      const open = [...live.querySelectorAll('details')].map((d) => d.open)
      fresh.querySelectorAll('details').forEach((d, i) => { d.open = open[i] ?? false })
      live.replaceChildren(...fresh.childNodes)
      if (live.classList.contains('app-stale')) say()
      live.classList.remove('app-stale')
    } catch {
      if (!live.classList.contains('app-stale')) {
        status.textContent = 'No answer. The figures are old; trying again every 10 seconds.'
      }
      live.classList.add('app-stale')
    }
  }
  setInterval(update, INTERVAL)
}
