"""sensor.bmi088 on a simulated chip: FIFOs that overrun or cannot be read; the lost frames are counted."""

import numpy as np
import pytest

from tests.bmi088_fixtures import board as board
from tests.bmi088_fixtures import failure, recovers
from tests.test_bmi088 import ACCEL, GYRO


def test_after_an_overrun_no_exchanged_axes_are_delivered(board):
    driver = board.opened("gyroscope")
    before = board.collect(driver, 0.2)
    board.clock.sleep(0.5)  # the process stands still: 500 frames, the FIFO has 100
    after = board.collect(driver, 0.2)
    numbers = board.numbers(before + after, 0, GYRO)
    steps = np.diff(numbers)
    assert driver.lost == pytest.approx(502, abs=5)
    assert steps.max() == pytest.approx(driver.lost + 1, abs=1) and (np.sort(steps)[:-1] == 1).all()
    gap = after[0].sequence - before[-1].sequence - len(after[0].payload)
    assert gap == driver.lost


def test_the_flag_of_an_overrun_is_enough(board):
    driver = board.opened("gyroscope")
    board.collect(driver, 0.1)
    board.gyroscope.overrun = True
    rows = np.concatenate([sample.payload for sample in board.collect(driver, 0.1)]) / GYRO
    assert np.allclose(rows[:, 2], 100) and 1 <= driver.lost <= 5 and not board.gyroscope.overrun


def test_an_overrun_between_the_level_and_the_data(board):
    driver = board.opened("gyroscope")
    board.collect(driver, 0.1)
    pauses = [0.3]

    def pause(path, sent):
        if sent[0] == 0xBF and pauses:
            board.clock.sleep(pauses.pop())

    board.bus.before = pause
    samples = board.collect(driver, 0.3)
    assert not pauses and driver.lost >= 295
    rows = np.concatenate([sample.payload for sample in samples]) / GYRO
    assert np.allclose(rows[:, 2], 100)  # the third axis is in its place


def test_a_fifo_that_overruns_again_and_again(board):
    driver = board.opened("gyroscope")
    board.bus.before = lambda path, sent: board.clock.sleep(0.2) if sent[0] == 0x8E else None
    assert "its FIFO overran, 5 times in a row" in str(failure(board, driver))
    board.bus.before = lambda path, sent: None
    recovers(board, driver)


def test_lost_accelerations_are_counted_by_the_chip(board):
    driver = board.opened("accelerometer")
    before = board.collect(driver, 0.1)
    board.clock.sleep(0.2)  # 320 frames, the FIFO has 146
    after = board.collect(driver, 0.1)
    numbers = board.numbers(before + after, 0, ACCEL)
    assert driver.lost == np.diff(numbers).max() - 1 > 170
    assert after[0].sequence - before[-1].sequence == len(after[0].payload) + driver.lost


def test_lost_accelerations_interrupt_merged_readings_too(board):
    driver = board.opened()
    before = board.collect(driver, 0.1)
    board.accelerometer.skipped = 40
    after = board.collect(driver, 0.1)
    assert driver.lost == 40
    assert after[-1].sequence - before[-1].sequence == sum(len(sample.payload) for sample in after) + 40


def test_one_unreadable_frame_costs_one_fifo(board):
    driver = board.opened()
    board.collect(driver, 0.1)
    board.accelerometer.append(b"\x11")
    board.collect(driver, 0.1)
    assert board.drivers[0].accelerometer.chip.bad == 1 and 1 <= driver.lost <= 6


def test_noise_on_the_wire(board):
    driver = board.opened("accelerometer")
    board.bus.before = lambda path, sent: board.accelerometer.append(b"\x11")
    assert "a FIFO frame with the header 0x11, 5 times in a row" in str(failure(board, driver))
    board.bus.before = lambda path, sent: None
    recovers(board, driver)
