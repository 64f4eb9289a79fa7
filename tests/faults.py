"""Faults of earlier implementations; put_faults_back.py puts them back."""

Replacement = tuple[str, str, str]
"""Qualified name of a function, class or module; text that occurs once in its source; the faulty text."""

SORTS = "values.sort(); positions = values[:, None]"

LATER = "                self._to_finish.insert(0, lambda: (self._fill(place, activation, derived.keys()), place.divide()))\n"

FAULTS: dict[str, tuple[str, list[Replacement]]] = {
    "the last batch is dropped": (
        "tests/test_definition.py::test_equals_the_definition",
        [("pytorch.variance.batches.in_batches", "order.tensor_split(-(-len(order) // batch_size) or 1)",
          "order[: len(order) // batch_size * batch_size].tensor_split(len(order) // batch_size or 1)")],
    ),
    "batch ranges overlap": (
        "tests/test_definition.py::test_equals_the_definition",
        [("pytorch.variance.batches.in_batches", "Batch(images[part.to(images.device, non_blocking=True)], labels[part])",
          "Batch(images[torch.cat([part, part[:1]])], labels[torch.cat([part, part[:1]])])")],
    ),
    "the last batch of an evaluation is dropped": (
        "tests/test_training.py::test_accuracy_counts_every_sample",
        [
            (
                "pytorch.experiments.evaluation.Evaluator._right",
                "torch.arange(len(self.split)).split(self.batch_size), strict=True",
                "torch.arange(len(self.split) // self.batch_size * self.batch_size).split(self.batch_size)",
            )
        ],
    ),
    "test data are normalised by test statistics": (
        "tests/test_scripts.py::test_the_measure_normalizes_by_the_training_split",
        [
            (
                "pytorch.experiments.subject.pair_subject",
                '"preprocess": first.normalization',
                '"preprocess": type(first.normalization).of(dataset.test.images)',
            )
        ],
    ),
    "an angle is a fresh draw from around it": (
        "tests/test_transformations.py::test_the_same_angle_gives_the_same_image",
        [("pytorch.transformations.rotation.Rotation.__call__", "quarters, rest = divmod(self.degrees, 90)",
          "quarters, rest = divmod(self.degrees + 2 * torch.rand(()).item() - 1, 90)"),
         ("pytorch.transformations.rotation.Rotation.__call__", "math.cos(math.radians(self.degrees))",
          "math.cos(math.radians(self.degrees + 2 * torch.rand(()).item() - 1))")],
    ),
    "degrees are taken for radians": (
        "tests/test_transformations.py",
        [("pytorch.transformations.rotation.rotate", ".double() * (math.pi / 180)", ".double()")],
    ),
    "an evaluation leaves the model in evaluation mode": (
        "tests/test_training.py::test_every_epoch_trains_in_training_mode",
        [("pytorch.variance.recording.left_as_found.evaluation_mode", "module.training = training", "module.training = False")],
    ),
    "training does not set its mode": (
        "tests/test_training.py::test_training_leaves_no_epoch_in_evaluation_mode",
        [("pytorch.experiments.training.Training._pass_over_samples", "        self.model.train()\n", "")],
    ),
    "a resumed training starts with a new optimiser": (
        "tests/test_training.py::test_a_training_taken_up_again_ends_with_the_same_weights",
        [("pytorch.experiments.training.Training.load_state_dict", "self._optimizer.load_state_dict(state[\"optimizer\"])", "pass")],
    ),
    "random numbers of a resumed training depend on the process": (
        "tests/test_training.py::test_a_training_taken_up_again_ends_with_the_same_weights",
        [("pytorch.experiments.training.Training.run_epoch", "torch.manual_seed(derived_seed(self._seed, number, f\"dropout{self._rank or ''}\"))", "pass")],
    ),
    "steps use the weights that an epoch began with": (
        "tests/test_training.py::test_bfloat16_steps_use_the_weights_of_the_moment",
        [("pytorch.experiments.training.Training.run_epoch", "            with bar, whole_mantissas(), torch.random.fork_rng(devices=devices), connected():\n",
          "            with bar, torch.random.fork_rng(devices=devices), autocast(self._precision, self._device):\n")],
    ),
    "a checkpoint takes its name before it is whole": (
        "tests/test_storage.py::test_a_failed_write_leaves_the_old_file_and_no_litter",
        [("pytorch.files.whole_file._new_part",
          "        part = path.with_name(f\".{path.name}.{secrets.token_hex(4)}.part\")\n"
          "        file = part.open(\"xb\")",
          '        part = path\n        file = part.open("wb")')],
    ),
    "a new model takes the place of the old one before its partner is there": (
        "tests/test_scripts.py::test_the_old_pair_stays_until_the_new_one_is_complete",
        [("pytorch.experiments.pair_training.PairTraining._target", "'.new' if self.overwrite else '.pt'", "'.pt'")],
    ),
    "a kill between two renamings leaves half of a pair": (
        "tests/test_scripts.py::test_new_pairs_take_the_place_of_the_old_ones_whenever_it_is_killed",
        [("pytorch.experiments.pair_replacement.run_pairs", "    if _mark(folder).exists():\n        _replace_old(folder)",
          "    if False:\n        _replace_old(folder)")],
    ),
    "the angle curve counts all classes as one": (
        "tests/test_training.py::test_the_angle_curve_counts_every_class_at_every_angle",
        [("pytorch.experiments.evaluation.Evaluator.angle_curve", "torch.bincount(labels[found], minlength=self.classes)",
          "torch.bincount(0 * labels[found], minlength=self.classes)")],
    ),
    "the classes of CIFAR-10 are in the wrong order": (
        "tests/test_datasets.py::test_cifar10_classes_are_in_their_published_order",
        [
            (
                "pytorch.datasets.torchvision_datasets._read",
                "        classes = list(train.classes) if",
                "        classes = [*train.classes[:6], 'horse', 'frog', *train.classes[8:]] if",
            )
        ],
    ),
    "the 1 × 1 convolution is padded": (
        "tests/test_models.py::test_the_spatial_sizes_of_all_convolutional",
        [("pytorch.models.all_convolutional.all_convolutional", "nn.Conv2d(192, 192, 1)", "nn.Conv2d(192, 192, 1, padding=1)")],
    ),
    "an in-place ReLU overwrites what was recorded": (
        "tests/test_recording.py::test_an_in_place_relu_cannot_change_what_was_recorded",
        [
            ("pytorch.variance.fast.reader.Reader.read", "                self._fill(place, activation, derived.keys())\n", LATER),
        ],
    ),
    "a module called twice has one name": (
        "tests/test_recording.py::test_every_call_in_order_of_execution",
        [
            (
                "pytorch.variance.recording.finding.LayerFinder.layers",
                'name if self.calls[name] == 1 else f"{name}#{self.calls[name]}"',
                "name",
            ),
        ],
    ),
    "the shortcut is computed twice": (
        "tests/test_models.py::test_each_step_is_computed_and_recorded_once",
        [
            (
                "pytorch.models.resnet.BasicBlock.forward",
                "return self.relu2(self.sum(residual, self.shortcut(inputs)))",
                "self.shortcut(inputs)\n        return self.relu2(self.sum(residual, self.shortcut(inputs)))",
            )
        ],
    ),
    "copies of a layer are recorded": (
        "tests/test_models.py::test_each_step_is_computed_and_recorded_once",
        [("pytorch.variance.recording.finding.LayerFinder._reason", "CONSTANT < made <= begun", "False")],
    ),
    "a figure sorts the result": (
        "tests/test_figures.py::test_drawing_changes_no_bit_of_a_result",
        [("pytorch.figures.cells._channel_means", "positions = _per_channel(values)", SORTS)],
    ),
    "a figure sorts the result, which is not read-only": (
        "tests/test_figures.py::test_drawing_changes_no_bit_of_a_result",
        [
            ("pytorch.figures.cells._channel_means", "positions = _per_channel(values)", SORTS),
            ("pytorch.variance.result.VarianceResult._by_layer", "units = units.view()\n        units.flags.writeable = False", "pass"),
            ("pytorch.variance.standard_errors.read_only", "frozen.flags.writeable = False", "pass"),
            ("pytorch.variance.result._ratio", "return np.where((tv == 0) & (sv == 0), 1.0, ratio)", "return tv"),
        ],
    ),
    "a figure of another result is kept": (
        "tests/test_plots.py::test_what_is_changed_is_drawn_again",
        [("pytorch.report.album.Album._is_current", "(drawn.sources, drawn.look) == (plot.sources, look)",
          "drawn.look == look")],
    ),
    "a control of another training is compared with": (
        "tests/test_page.py::test_controls_of_another_training_are_not_compared",
        [("pytorch.report.controls._trained_alike", "return control.weights == pair.weights", "return True")],
    ),
    "the meaning of a result is in its file name": (
        "tests/test_storage.py::test_a_measurement_comes_back_as_it_went_whatever_its_file_is_called",
        [
            (
                "pytorch.files.container.load",
                "        return check(rebuild(container[\"content\"]))\n",
                "        return check(rebuild({**container[\"content\"], 'model': path.stem.split('_')[0]}))\n",
            )
        ],
    ),
    "measuring crashes at the line that saves": (
        "tests/test_scripts.py::test_measuring_leaves_a_pair_of_results",
        [("experiment_variance._measure", "    save_values(path, pair)\n", "    save_values(pair)\n")],
    ),
    "a folder that cannot be written is found out after the work": (
        "tests/test_bad_input.py::test_bad_input_gets_one_line",
        [("experiment_rotation.main", "        check_writable(place)\n", "        pass\n")],
    ),
    "the variance is a difference of sums": (
        "tests/test_definition.py::test_a_large_offset_costs_no_digits",
        [
            ("pytorch.variance.statistics.moments.Moments.update", "        deviations = groups.deviations(observations, part.mean)\n",
             "        part.mean = torch.zeros_like(part.mean)\n        deviations = observations.clone()\n"),
        ],
    ),
    "the variance over transformations is a difference of sums": (
        "tests/test_definition.py::test_a_large_offset_costs_no_digits",
        [("pytorch.variance.statistics.block.UnitBlock._add_over_transformations", "self._first = values[:, :1].clone()",
          "self._first = torch.zeros_like(values[:, :1])")],
    ),
    "errors of units are added as if they were independent": (
        "tests/test_errors.py::test_intervals_cover_the_value_of_very_many_samples",
        [("pytorch.variance.statistics.accumulator.VarianceAccumulator.end", "squares = [part.square_() for part in first]",
          "squares = [part.square_() / 10 for part in first]")],
    ),
    "the bias of few samples is not subtracted": (
        "tests/test_errors.py::test_errors_and_biases_agree_with_the_delete_one_jackknife",
        [("pytorch.variance.statistics.influence.Expansion.second", "self.nv * self.inverse * self.curvature - products", "-products")],
    ),
    "a pass stops as soon as it knows the units that vary": (
        "tests/test_errors.py::test_a_tolerance_waits_for_units_that_may_awake",
        [("pytorch.variance.stopping.Stopping.half_width", "again * awaking / units", "0 * awaking / units")],
    ),
    "a control shuffles nothing": (
        "tests/test_errors.py::test_shuffled_samples_have_a_normalized_variance_of_1",
        [("pytorch.variance.single_pass.single_pass", "_shuffle(images, generator) if options.shuffled", "images if True")],
    ),
    "hooks stay on the model": (
        "tests/test_recording.py::test_a_recorder_removes_its_hooks",
        [("pytorch.variance.recording.recorder.ActivationRecorder.__exit__", "        self._stack.close()\n", "        pass\n")],
    ),
    "a hostile file is run": (
        "tests/test_hostile_files.py::test_hostile_pickles_are_refused",
        [
            ("pytorch.files.safe_pickle.loads", "    check_program(content, INSTRUCTIONS)\n", ""),
            ("pytorch.files.safe_pickle._Unpickler.find_class", "if (module, name) not in STAND_INS:", "if False:"),
            ("pytorch.files.safe_pickle._Unpickler.find_class", "return STAND_INS[module, name]", "return super().find_class(module, name)"),
        ],
    ),
    "a result is saved that cannot be read": (
        "tests/test_result_file.py::test_what_could_not_be_read_is_not_written",
        [
            ("pytorch.files.safe_pickle.dumps", "    check_plain(content, np.ndarray, len(pickled))\n", ""),
            ("pytorch.variance.result.VarianceResult.save", "check_result(self).to_dict()", "self.to_dict()"),
        ],
    ),
    "a layer's name is markup in a notebook": (
        "tests/test_result_html.py::test_names_are_text",
        [("pytorch.variance.result_html.result_html", "(html.escape(one_line(name, LONGEST_SHOWN)), ", "(name, ")],
    ),
    "a notebook has no progress bar": (
        "tests/test_notebook.py::test_a_bar_in_a_notebook_is_a_widget",
        [("pytorch.progress_bar.in_notebook", 'shell is not None and "IPKernelApp" in shell.config', "False")],
    ),
    "a checksum is not looked at": (
        "tests/test_sealed_file.py::test_every_bit_of_a_sealed_file_counts",
        [("pytorch.files.sealed_file.read_sealed", ".hexdigest() != digest:", ".hexdigest() == '':")],
    ),
    "an archive is given to torch as it is": (
        "tests/test_hostile_files.py::test_hostile_archives_are_refused",
        [("pytorch.files.safe_archive.loads", "torch.load(_rewritten(content),",
          "torch.load(io.BytesIO(content),")],
    ),
    "a file has one tensor many times": (
        "tests/test_hostile_files.py::test_one_tensor_many_times_is_too_much",
        [("pytorch.files.plain_content.check_plain", "value.nbytes if kind is arrays else 0", "0")],
    ),
    "a lock is not held": (
        "tests/test_locks.py::test_a_task_is_done_by_one_process_at_a_time",
        [("pytorch.files.lock.lock", "    except BlockingIOError:\n        return False\n",
          "    except BlockingIOError:\n        return True\n")],
    ),
    "one figure that fails stops the others": (
        "tests/test_plots.py::test_a_figure_that_cannot_be_drawn_stops_nothing_else",
        [("pytorch.report.album.Album.draw", "except Exception as error:  # what", "except MemoryError as error:  # what")],
    ),
    "a training resumes with the state of another optimizer": (
        "tests/test_training.py::test_a_state_that_is_not_of_such_a_training_is_refused",
        [("pytorch.experiments.training.Training.load_state_dict", '            self._check_optimizer(state["optimizer"])\n', "")],
    ),
    "weights that are no numbers are measured": (
        "tests/test_bad_input.py::test_weights_that_are_no_numbers",
        [("pytorch.variance.arguments.check_model", "    _check_weights(model)\n", "    pass\n")],
    ),
    "a batch norm's means are derived from an input that was changed": (
        "tests/test_derived_units.py",
        [("pytorch.variance.fast.derived_units.DerivedUnits.place_of", " and inputs._version == version + changes", "")],
    ),
    "a batch norm that is hooked is taken for an affine map": (
        "tests/test_derived_units.py",
        [("pytorch.variance.fast.derived_units.DerivedUnits.is_altered",
          "hooked = module._forward_pre_hooks or len(module._forward_hooks) > 1", "hooked = False")],
    ),
    "a 1 x 1 convolution with strides is taken for a linear map of every position": (
        "tests/test_derived_units.py",
        [("pytorch.variance.fast.derived_units._same_positions", "*module.stride, ", "")],
    ),
    "the maximum of a pooling that leaves positions out is that of its input": (
        "tests/test_derived_units.py",
        [("pytorch.variance.fast.derived_units._covers.covered", " and reached >= inputs[axis + 2]", "")],
    ),
    "a later call takes the second call of a module for the first": (
        "tests/test_recording.py",
        [("pytorch.variance.recording.places.Places.of_call", "self._made[caller] = number + 1", "self._made[caller] = number")],
    ),
    "transformations that run together are not summed": (
        "tests/test_errors.py",
        [("pytorch.variance.statistics.influence.stacked_sum", "values.unflatten(1, (-1, units)).sum(dim=1)", "values[:, :units]")],
    ),
    "many claims are tested as if each were the only one": (
        "tests/test_claims.py",
        [("pytorch.claims.significance.holm", "min(1.0, (len(p_values) - rank) * p)", "p")],
    ),
    "two models on the same samples are taken for independent": (
        "tests/test_claims.py",
        [("pytorch.claims.comparisons._differences", "error[ROTATED] + error[UNROTATED]",
          "math.hypot(error[ROTATED], error[UNROTATED])")],
    ),
    "trainings that disagree are judged by their samples": (
        "tests/test_claims.py",
        [("pytorch.claims.comparisons._differences", "if len(trainings) > 1:", "if len(trainings) > 9:")],
    ),
    "models that were moved are taken for those of their folder": (
        "tests/test_plots.py::test_models_that_are_not_where_they_belong_are_named_and_left_out",
        [("pytorch.report.findings._add_trained", "            _check_place(models, folder)\n", "")],
    ),
    "fp32 is cut to the mantissa of TF32": (
        "tests/test_devices.py::test_single_precision_is_not_cut_short",
        [("pytorch.variance.precision.whole_mantissas", "convolutions.allow_tf32 = products.allow_tf32 = False", "pass")],
    ),
    "classes with small errors count for more": (
        "tests/test_claims.py",
        [("pytorch.claims.significance.spread", "values.var(ddof=1) - (errors**2).mean()",
          "(q - len(values) + 1) / (weights.sum() - (weights**2).sum() / weights.sum())")],
    ),
    "the first layer alone makes a trend": (
        "tests/test_claims.py",
        [("pytorch.claims.depth_trend.Judged.of", "trend(values[1:], errors[1:])", "trend(values, errors)")],
    ),
    "layers that say the same count for many": (
        "tests/test_claims.py",
        [("pytorch.claims.varying_layers.VaryingLayers.distinct", "abs(value - self.values[kept[-1]]) < SAME", "False")],
    ),
    "dead units make a layer variant": (
        "tests/test_claims.py",
        [("pytorch.claims.varying_layers.VaryingLayers.of", "varying=True", "varying=False")],
    ),
    "trainings make the images that all of them see more": (
        "tests/test_claims.py",
        [("pytorch.claims.collapse.Loss.mean", "float(np.mean([loss.over_images for loss in losses]))",
          "float(np.mean([loss.over_images for loss in losses])) / math.sqrt(count)")],
    ),
    "what is not decided is not reproduced": (
        "tests/test_claims.py",
        [("pytorch.claims.claim.Claim.verdict", 'elif NO in answers:', 'elif answers:')],
    ),
    "what a guess has right is taken for knowledge": (
        "tests/test_claims.py",
        [("pytorch.claims.learning.chance", 'curve and sum(curve.counts) else', 'False else')],
    ),
    "networks that have learned nothing count": (
        "tests/test_claims.py",
        [("pytorch.claims.trainings.learned", 'return has_learned(', 'return True or has_learned(')],
    ),
    "a folder of images is known by names alone": (
        "tests/test_bad_input.py::test_images_that_changed_under_their_names_are_other_data",
        [("pytorch.datasets.image_files.fingerprint_of", '{path.relative_to(folder)} {content}', '{path.relative_to(folder)}')],
    ),
    "a model in the place of the other is taken for it": (
        "tests/test_bad_input.py::test_a_model_in_the_place_of_the_other_is_not_taken_for_it",
        [("pytorch.experiments.pair_training.PairTraining.kept", "if kept.trained_on != trained_on and not self.overwrite:", "if False:")],
    ),
    "an operation passes for the module whose name it has": (
        "tests/test_zoo.py::test_functions_and_modules_of_one_name_are_told_apart",
        [("pytorch.variance.recording.operations.Operations.__torch_function__", 'f"{name}()" if name in self._modules else name', "name")],
    ),
    "heads are taken for positions": (
        "tests/test_user_networks.py::test_heads_are_units",
        [("pytorch.variance.recording.roles.of_source", "beside = role_of(before[axis]) == UNIT", "beside = False")],
    ),
    "channels that come last are taken for positions": (
        "tests/test_user_networks.py::test_channels_may_come_last",
        [("pytorch.variance.recording.roles", '"layer_norm", "rms_norm", "multi_head_attention_forward"), -1)',
          '"layer_norm", "rms_norm", "multi_head_attention_forward"), 1)')],
    ),
    "what is as long as the batch by chance is measured": (
        "tests/test_user_networks.py::test_what_is_as_long_as_the_batch_by_chance_is_left_out",
        [("pytorch.variance.first_batch.CheckedRecorder._find", "some = [1, 0][-len(inputs) :]",
          "some = list(range(len(inputs)))"),
         ("pytorch.variance.first_batch.CheckedRecorder._beside", "torch.cat([turned, few[:1]])", "turned")],
    ),
    "noise is measured": (
        "tests/test_user_networks.py::test_a_network_that_is_no_function_of_each_image_is_refused",
        [("pytorch.variance.first_batch.CheckedRecorder._compare", "        if differ.any():", "        if False:")],
    ),
    "a network keeps what the measure has changed": (
        "tests/test_user_networks.py::test_everything_is_left_as_found",
        [("pytorch.variance.recording.left_as_found.Keeper.restore", "                    value.copy_(before)\n",
          "                    pass\n")],
    ),
    "rounding passes for variance": (
        "tests/test_rounding.py::test_units_that_vary_by_rounding_are_told_from_constant_ones",
        [("pytorch.variance.first_batch.CheckedRecorder._first", "torch.maximum(ROUNDING * rounding, own)", "0 * own")],
    ),
    "rounding that a later layer magnifies is not found": (
        "tests/test_rounding.py::test_what_is_rounded_before_a_difference_is_rounding",
        [("pytorch.variance.first_batch.CheckedRecorder._first", "with rounded_otherwise(recorder.modules):",
          "with ExitStack():")],
    ),
    "rounding in the last digit is not found": (
        "tests/test_rounding.py::test_what_a_large_offset_rounds_away_is_rounding",
        [("pytorch.variance.first_batch.CheckedRecorder._first", "torch.maximum(ROUNDING * rounding, own)",
          "ROUNDING * rounding")],
    ),
    "rounding in bfloat16 is overstated": (
        "tests/test_rounding.py::test_in_bfloat16_units_that_vary_as_in_float32_are_not_rounding",
        [("pytorch.variance.first_batch.CheckedRecorder._first", "torch.maximum(ROUNDING * rounding, own)",
          "torch.maximum(16 * rounding, own)")],
    ),
    "figures call any two networks unrotated and rotated": (
        "tests/test_figures.py::test_results_of_ones_own_go_by_their_own_names",
        [("pytorch.experiments.variance_pair.VariancePair.of_results", "versions={}, names=own_names,", "versions={},")],
    ),
    "a figure of other units is kept": (
        "tests/test_plots.py::test_what_is_changed_is_drawn_again",
        [("pytorch.report.album._look_digest", "repr((asdict(look), matplotlib.__version__))",
          "repr((look.width, look.sort, matplotlib.__version__))")],
    ),
    "tables count units that never vary although told not to": (
        "tests/test_tables.py::test_means_leave_out_units_that_never_vary_where_asked",
        [("pytorch.report.rows.global_row", "row.of_varying() if varying else row", "row")],
    ),
    "tables of networks of one's own share a name": (
        "tests/test_page.py::test_tables_of_ones_own_results_are_named_apart",
        [("pytorch.report.own_page.report", "tables = named_apart([", "tables = list([")],
    ),
    "images of units are others than those measured": (
        "tests/test_units.py::test_images_are_those_that_were_measured",
        [("pytorch.report.unit_gallery._draw", "dataset.measured(result.class_counts, pair.seed) if result.tolerance is None else",
          "")],
    ),
    "blocks are named by ends that many share": (
        "tests/test_figures.py::test_names_of_blocks_tell_them_apart",
        [("pytorch.figures.layer_axis._forms", "            break\n", "            pass\n")],
    ),
    "a comparison hides which network is a shuffled control": (
        "tests/test_comparison_figures.py::test_names_tell_controls_and_other_numbers_of_samples",
        [("pytorch.figures.networks.mark_networks", '", shuffled" * result.shuffled', '""')],
    ),
    "an empty stratified figure is drawn": (
        "tests/test_figures.py::test_nothing_is_stratified_where_no_class_has_two_samples",
        [("pytorch.variance.result.VarianceResult.summary_groups", "if (self.class_counts > 1).any() else", "if len(self.classes) else")],
    ),
    "a measurement of fewer samples counts as done": (
        "tests/test_reproduction.py::test_only_what_was_done_as_asked_is_done",
        [("pytorch.experiments.standing.Combination._measurement", 'differences(asked, ignore=["weights"])',
          'differences(asked, ignore=["weights", "samples"])')],
    ),
    "an equivariance at other positions counts as done": (
        "tests/test_standing.py::test_equivariance_that_is_asked_for_must_be_there",
        [("pytorch.experiments.standing.Combination._measurement", "pair.any_result.positions_for(POSITIONS)",
          "pair.any_result.most_positions")],
    ),
    "positions outside a map are read from a file": (
        "tests/test_equivariance_files.py::test_results_that_cannot_be_are_refused",
        [("pytorch.variance.equivariance.equivariance_result.fits", "(read < size)", "(read < max(size))")],
    ),
    "shards overlap": (
        "tests/test_shards.py::test_every_sample_is_in_one_shard",
        [("pytorch.variance.batches.in_batches", "order[first::count]", "order[first::max(1, count - 1)]")],
    ),
    "samples are repeated until shards are equally large": (
        "tests/test_shards.py::test_merged_shards_equal_the_whole",
        [("pytorch.variance.batches.in_batches", "order = order[first::count]",
          "order = torch.cat([order, order[: -len(order) % count]])[first::count]")],
    ),
    "influences on few samples of a shard count": (
        "tests/test_shards.py::test_errors_of_merged_shards_are_near_those_of_the_whole",
        [("pytorch.variance.statistics.influence.ErrorSums.forget_few", "self.samples < fewest", "self.samples < 0")],
    ),
    "sums of a shard are added in the order in which they are given": (
        "tests/test_shards.py::test_shards_in_files_merge_to_the_same_bits_in_any_order",
        [("pytorch.variance.partial_result.merge_results", "for shard in sorted(found):", "for shard in found:")],
    ),
    "shards of other images are merged": (
        "tests/test_shards.py::test_shards_of_other_images_or_functions_are_not_merged",
        [("pytorch.variance.probe.differing", "alike.all()", "True")],
    ),
    "shards of other positions are merged": (
        "tests/test_shards.py::test_shards_of_other_positions_are_not_merged",
        [("pytorch.variance.partial_result._in_common", "layer.places.tolist()", "0")],
    ),
    "the equivariance errors of shards are lost": (
        "tests/test_shards.py::test_merged_shards_have_the_equivariance_of_the_whole",
        [("pytorch.variance.equivariance.map_accumulator.MapAccumulator.merge_shard", "self.squares += squares", "pass")],
    ),
    "a shard of the last rank is left out": (
        "tests/test_ranks.py::test_processes_equal_one",
        [("pytorch.variance.ranks.Ranks.merged", "range(1, self.size)", "range(1, self.size - 1)")],
    ),
    "each shard stops by itself": (
        "tests/test_ranks.py::test_a_tolerance_holds_for_the_samples_of_all_processes",
        [("pytorch.variance.ranks.SharedStopping.half_width", "return self._width", "return self._stopping.half_width(accumulator)")],
    ),
    "classes without statistics keep their rows, as in a shard": (
        "tests/test_shards.py::test_classes_without_statistics_take_no_memory",
        [("pytorch.variance.single_pass._accumulators", "range(options.class_count or 0) if options.kept is None else options.kept",
          "range(options.class_count or 0)")],
    ),
    "parts of a batch weigh the same, whatever their sizes": (
        "tests/test_shared_training.py::test_processes_give_the_weights_of_one",
        [("pytorch.experiments.training.Training._pass_over_samples", "weight=len(indices) * self._ranks / len(batch)", "weight=1")],
    ),
    "all processes that share a batch drop the same units": (
        "tests/test_shared_training.py::test_each_process_has_its_own_dropout",
        [("pytorch.experiments.training.Training.run_epoch", "f\"dropout{self._rank or ''}\"", "\"dropout\"")],
    ),
    "processes train together on different data": (
        "tests/test_shared_training.py::test_other_data_are_refused",
        [("pytorch.experiments.pair_training.PairTraining.take_part", "if differs := under_way.differences(here._under_way(asked)):",
          "if differs := \"\":")],
    ),
    "a lost process leaves the others with a traceback": (
        "tests/test_shared_training.py::test_torchrun_continues_after_a_process_has_died",
        [("pytorch.experiments.torchrun.connected", "if not (isinstance(error, dist.DistError)", "if True or not (isinstance(error, dist.DistError)")],
    ),
    "a resumed process begins anew where the others continue": (
        "tests/test_shared_training.py::test_torchrun_continues_after_a_process_has_died",
        [("pytorch.experiments.pair_training.PairTraining.take_part", "            training.load_state_dict(state)\n", "            pass\n")],
    ),
    "a process that ends is stopped before it says why": (
        "tests/test_shared_training.py::test_torchrun_continues_after_a_process_has_died",
        [("pytorch.experiments.torchrun.torchrun_group", "before = signal.SIG_IGN", "pass")],
    ),
    "a batch norm follows from the layer that was before it in an earlier pass": (
        "tests/test_derived_units.py",
        [("pytorch.variance.fast.derived_units.DerivedUnits.derivations", "plan.before is not before or ", "")],
    ),
    "an activation is read as it lay in an earlier pass": (
        "tests/test_compiled.py",
        [("pytorch.variance.fast.compiled_reading.CompiledReading.fits", "activation.stride() == self._strides", "True")],
    ),
    "the gradient of a convolution's input uses filters that are not turned": (
        "tests/test_faster_operations.py",
        [("pytorch.experiments.small_map_convolutions._gradient_of_inputs", "weight.flip(2, 3)", "weight")],
    ),
    "dropout does not scale what it keeps": (
        "tests/test_faster_operations.py",
        [("pytorch.experiments.faster_operations._dropout", ".div_(1 - p)", "")],
    ),
    "the error of the choice of positions is halved": (
        "tests/test_equivariance.py::test_intervals_of_some_positions_cover_the_mean_of_all",
        [("pytorch.variance.equivariance.position_errors._variance", "(2 * count)", "(8 * count)")],
    ),
    "the error of positions takes a channel that is active at few for one at all": (
        "tests/test_equivariance.py::test_channels_that_are_active_at_few_positions_have_wide_intervals",
        [("pytorch.variance.equivariance.position_errors._influences", "(count * mean_sv - sv)", "(count * mean_sv)")],
    ),
}  # fmt: skip
"""By name: the test that notices the fault, and how to put it back."""
