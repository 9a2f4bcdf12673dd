"""`flwr run`: the server part of a fleet."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from .history import History
from .patient_grid import PatientGrid
from .settings import read_settings
from .strategy import FleetStrategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that the settings ask for."""
    settings = read_settings(context.run_config)
    history = History(settings)
    strategy = FleetStrategy(settings, history, history.start())
    strategy.start(
        grid=PatientGrid(grid, settings.reply_share),
        initial_arrays=strategy.arrays(),
        num_rounds=settings.rounds,
        timeout=settings.round_timeout,
    )
